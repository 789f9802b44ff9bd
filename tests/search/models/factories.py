"""Models for `vkdnw score` to find by name."""

import torch
from torch import nn


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


class Scaled(nn.Module):
    """Has a parameter that no layer's rule covers, and one that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small()
        self.scale = nn.Parameter(torch.full((3,), 2.0))
        self.unread = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(x) * self.scale
        return logits


def mixing() -> nn.Module:
    """Samples mix whatever the mode: these statistics are not kept."""
    return nn.Sequential(small(), nn.BatchNorm1d(3, track_running_stats=False))


def no_model() -> int:
    return 3


def needs(width: int) -> nn.Module:
    return nn.Linear(width, 1)


def breaks() -> nn.Module:
    raise RuntimeError("out of\n  luck")
