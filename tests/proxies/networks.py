"""Small classifiers of other kinds than the search spaces', for 3 x 8 x 8 images and 4 classes.

Each is a stem, blocks in a Sequential and a head, so that references can take it apart.

"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Switched = list[Tensor]


class Classifier(nn.Module):
    def __init__(self, stem: nn.Module, blocks: list[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.Sequential(*blocks), head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(images)))
        return logits


class FunctionalBlock(nn.Module):
    """Residual, no normalisation, biases, and ReLU as a function."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class Tokens(nn.Module):
    """Patches of 4 x 4 pixels as tokens ``[B, 4, D]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images).flatten(2).transpose(1, 2)


class MeanToken(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)


def without_normalisation() -> Classifier:
    blocks: list[nn.Module] = [FunctionalBlock(6) for _ in range(3)]
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return Classifier(nn.Conv2d(3, 6, 3, padding=1), blocks, head)


def in_place() -> Classifier:
    """Blocks that overwrite their input: the feature before them is gone afterwards."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    blocks = [block(16, 16, 1), block(16, 32, 2), block(32, 32, 1)]
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16))
    head = nn.Sequential(
        nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)
    )
    return Classifier(stem, blocks, head)


class Residual(nn.Module):
    """Ends in a ReLU that the next block's convolution and its skip both read."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.point = nn.Conv2d(channels, channels, 1)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.point(self.relu(self.norm(self.conv(x))))
        out: Tensor = self.relu(y + self.pool(x))
        return out


def residual() -> Classifier:
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    blocks: list[nn.Module] = [Residual(16) for _ in range(3)]
    head = nn.Sequential(
        nn.Conv2d(16, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)
    )
    return Classifier(stem, blocks, head)


def transformer() -> Classifier:
    blocks: list[nn.Module] = [
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True) for _ in range(2)
    ]
    return Classifier(Tokens(8), blocks, nn.Sequential(MeanToken(), nn.Linear(8, 4)))


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "without normalisation": without_normalisation,
    "in place": in_place,
    "residual": residual,
    "transformer": transformer,
}


def network(name: str) -> Classifier:
    """A network in float64, with random weights in all parameters."""
    torch.manual_seed(1)
    model = NETWORKS[name]().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model
