"""Spaces whose networks declare static graphs: symbols find what a probe finds, to the last bit."""

from __future__ import annotations

from random import Random

import pytest
import torch

import vkdnw
from vkdnw.per_sample.probing import trace as tracing
from vkdnw.per_sample.probing.symbolic import SymbolicGraph, symbolic_graph
from vkdnw.proxies import flop_count
from vkdnw.search.spaces.mobilenetv2.space import MobileNetV2
from vkdnw.search.spaces.nats_sss.space import NATSSize
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.spaces.nb_macro.space import NBMacro
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.transnas.space import TransNASMacro

SPACES = {
    "nb201": NB201(cells=1),
    "nats_sss": NATSSize(),
    "nb_macro": NBMacro(channels=16),
    "transnas_macro": TransNASMacro(channels=16, classes=5),
    "mobilenetv2": MobileNetV2(),
}


@pytest.mark.filterwarnings("ignore::vkdnw.LowRankWarning")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SPACES)
def test_a_score_has_the_bits_of_the_probed_one(
    name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    space: SearchSpace = SPACES[name]
    model = vkdnw.initialise(space.build(space.sample(Random(seed))), seed=0).eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    graphs: list[SymbolicGraph | None] = []

    def watch(*args: object) -> SymbolicGraph | None:
        graphs.append(symbolic_graph(*args))  # type: ignore[arg-type]
        return graphs[-1]

    monkeypatch.setattr(tracing, "symbolic_graph", watch)
    found = vkdnw.score(model, images)
    assert graphs != [None]
    monkeypatch.setattr(tracing, "symbolic_graph", lambda *_: None)
    assert torch.equal(found.eigenvalues, vkdnw.score(model, images).eigenvalues)


@pytest.mark.parametrize("name", SPACES)
def test_products_are_counted_as_those_of_the_running_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space: SearchSpace = SPACES[name]
    model, image = space.build(space.sample(Random(0))).eval(), torch.randn(1, 3, 32, 32)
    counted = flop_count.forward_products(model, image)
    monkeypatch.setattr(flop_count, "_products_of_known_layers", lambda *_: None)
    assert counted == flop_count.forward_products(model, image)
    assert counted
