"""A score keeps nothing alive: a run scores thousands of networks in one process."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import Tensor, nn

import vkdnw
from vkdnw import proxies
from vkdnw.proxies import Inputs
from vkdnw.search.spaces import nb201

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"


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


def test_no_activation_waits_for_the_collector_after_a_shared_pass() -> None:
    """It is paused for the pass, which may therefore leave nothing that it would have to find."""
    model, noise = nb201.build(CELL, channels=16, cells=1), Inputs(torch.randn(4, 3, 16, 16))
    names = ("flops", "expressivity", "trainability", "jacov", "naswot", "grad_norm")
    proxies.compute(names, model, noise, seed=0)  # torch imports more modules
    seen: list[weakref.ref[Tensor]] = []
    for layer in model.modules():
        layer.register_forward_hook(lambda _, __, output: seen.append(weakref.ref(output)))
    gc.disable()
    try:
        proxies.compute(names, model, noise, seed=0)
        assert len(seen) > 100
        assert [reference() for reference in seen if reference() is not None] == []
    finally:
        gc.enable()


def test_no_network_outlives_its_score() -> None:
    model = _network().eval()
    vkdnw.score(model, torch.randn(4, 3, 8, 8))
    last = weakref.ref(model)
    del model
    gc.collect()
    assert last() is None
