"""Backward passes of a train-mode pass that go onto one native tape, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from tests.proxies.networks import Classifier, in_place, residual
from vkdnw import proxies
from vkdnw.backward.random_signs import random_signs
from vkdnw.backward.train_tape import compile_train_tape
from vkdnw.proxies import Inputs
from vkdnw.proxies.train_pass import Recording, TrainPass, train_pass
from vkdnw.runtime.model_state import Parts
from vkdnw.search.spaces import nb201

ROUNDING = 2e-4
"""Of the largest number: float32 through some layers of batch statistics. No ReLU of these networks
is so near zero that its sign depends on it."""

BATCH = 6


class InvertedResidual(nn.Module):
    """Expands, filters each channel by itself, projects; 24 channels are filled up to 32."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, 48, 1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 48, 5, stride, 2, groups=48, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, outputs, 1, bias=False),
        )
        self.skips = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.skips else y


class Dense(nn.Module):
    """Blocks that read all before them: gradients go past the block in front."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
            for _ in range(3)
        )
        self.stem, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        seen = [self.stem(images)]
        for block in self.blocks:
            seen.append(block(sum(seen)))
        logits: Tensor = self.head(sum(seen).mean((2, 3)))
        return logits


def head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


def inverted_residuals() -> nn.Module:
    blocks: list[nn.Module] = [
        InvertedResidual(16, 24, 2),
        InvertedResidual(24, 24, 1),
        InvertedResidual(24, 24, 1),
    ]
    return Classifier(nn.Conv2d(3, 16, 3, padding=1), blocks, head(24))


def cells() -> nn.Module:
    edges = (
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
    )
    return nb201.build(edges, channels=16, cells=2, classes=4)


def pooled_stem() -> nn.Module:
    """Whose stem no tape knows."""
    model = residual()
    model.stem.append(nn.MaxPool2d(2))
    return model


TAPED: dict[str, Callable[[], nn.Module]] = {
    "cells": cells,
    "residual": residual,
    "in place": in_place,
    "inverted residuals": inverted_residuals,
    "dense": Dense,
}
BLOCKS_ONLY = {"pooled stem": pooled_stem}


def network(name: str) -> nn.Module:
    torch.manual_seed(1)
    model = (TAPED | BLOCKS_ONLY)[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def noise() -> Tensor:
    return torch.randn(BATCH, 3, 16, 16, generator=torch.Generator().manual_seed(2))


@contextmanager
def run(model: nn.Module, batch: Tensor, native: bool) -> Iterator[TrainPass]:
    """A pass with everything that tapes compute requested; signs are those of a seed."""
    recording = Recording(frozenset({"features", "input gradient"}))
    with train_pass(model.train(), Parts.of(model), batch, recording, native) as shared:
        shared.request_input_gradient()
        source = torch.Generator().manual_seed(3)
        shapes = [feature.shape for feature in shared.features[:0:-1]]
        shared.request_block_products([random_signs(shape, source) for shape in shapes])
        yield shared


def observed(model: nn.Module, batch: Tensor, native: bool) -> list[Tensor]:
    """The gradient of the input and the products of the blocks."""
    with run(model, batch, native) as shared:
        products = [shared.block_product(k) for k in range(1, len(shared.features))]
        return [shared.input_gradient, *(each for each in products if each is not None)]


@pytest.mark.parametrize("name", TAPED)
def test_both_passes_go_onto_a_tape(name: str) -> None:
    with run(network(name), noise(), native=True) as shared:
        assert shared.taped.input is not None
        assert shared.taped.products is not None


@pytest.mark.parametrize("name", [*TAPED, *BLOCKS_ONLY])
def test_agrees_with_autograd_in_float64(name: str) -> None:
    model = network(name)
    taken = observed(model, noise(), native=True)
    expected = observed(model.double(), noise().double(), native=False)
    assert len(taken) == len(expected)
    for found, wanted in zip(taken, expected, strict=True):
        assert (found.double() - wanted).abs().max() <= ROUNDING * wanted.abs().max()


def test_blocks_go_onto_a_tape_of_their_own_where_the_stem_does_not() -> None:
    model = network("pooled stem").train()
    leaf = noise().requires_grad_()
    seen = leaf.view_as(leaf)
    stem = model.stem(seen)
    last = model.blocks(stem)
    edges = [get_gradient_edge(each) for each in (seen, stem, last)]
    logits = model.head(last)
    assert compile_train_tape(logits, edges[0], edges[1:]) is None
    with run(network("pooled stem"), noise(), native=True) as shared:
        assert shared.taped.products is not None


@pytest.mark.parametrize("name", [*TAPED, *BLOCKS_ONLY])
def test_a_value_does_not_depend_on_what_shares_its_tape(name: str) -> None:
    model, read = network(name), Inputs(noise=noise())
    names = ("jacov", "trainability", "expressivity", "naswot", "grad_norm")
    together = proxies.compute(names, model, read, seed=0)
    for size in (1, 2):
        for some in combinations(names, size):
            found = proxies.compute(some, model, read, seed=0)
            assert found == {each: together[each] for each in some}, some


def test_a_block_that_returns_what_it_reads_is_told() -> None:
    skips = nb201.build(
        "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
        channels=16,
        cells=1,
        classes=4,
    )
    value = proxies.trainability(skips, Inputs(noise=noise()))
    assert value.value == -float("inf")
    assert value.reason is not None
    assert "returns its input" in value.reason


def test_features_side_by_side_are_left_to_autograd() -> None:
    """Neither of two branches is in front of the other: nothing arrives."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.left(x) + self.right(x)
            return out

    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), Branches(), head(16))
    value = proxies.compute(
        ["trainability"],
        model,
        Inputs(noise=noise()),
        seed=0,
        features=["1.left", "1.right"],
    )["trainability"]
    assert value.value == pytest.approx(2 - 1e6, rel=1e-6)  # T of a gradient of zero
