"""A score keeps nothing alive: a run scores thousands of networks in one process."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import Tensor, nn

import vkdnw


def _network() -> nn.Sequential:
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(3, 1, 1)]
    return nn.Sequential(*body, nn.Conv2d(16, 16, 3, padding=1), nn.Flatten(), nn.Linear(1024, 3))


def test_no_activation_outlives_the_score() -> None:
    model = _network().eval()
    seen: list[weakref.ref[Tensor]] = []
    for layer in model:
        layer.register_forward_hook(lambda _, __, output: seen.append(weakref.ref(output)))
    vkdnw.score(model, torch.randn(4, 3, 8, 8))
    gc.collect()
    assert len(seen) >= 2 * len(model)
    assert [reference() for reference in seen if reference() is not None] == []


def test_no_network_outlives_its_score() -> None:
    model = _network().eval()
    vkdnw.score(model, torch.randn(4, 3, 8, 8))
    last = weakref.ref(model)
    del model
    gc.collect()
    assert last() is None
