"""A model whose graph is static has the bits of the same model whose passes autograd records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library import test_tape as tapes
from vkdnw.per_sample.reverse_mode import chunking
from vkdnw.per_sample.reverse_mode.static_pass import StaticPass, static_pass

DECLARED = [
    *(tapes.Network, tapes.Cell, tapes.Doubled, tapes.Scaled, tapes.Multiplied, tapes.Broadcast),
    *(tapes.Bypassed, tapes.Pooled, tapes.InvertedResidual, tapes.Normalised),
]

STATIC = {
    *("cell and reduction", "two of them", "product with a number", "product with zero"),
    *("pooling that leaves pixels over", "strides of 1 x 1 kernels", "large strided kernel"),
    *("channels that are no multiple of 16", "inverted residuals"),
    *("inverted residual with a stride", "normalisation of a sum", "ReLUs of a ReLU"),
    *("a ReLU before a pooling", "mean over all of a square map", "groups of some channels"),
    "dilation",
}
"""The others call what symbols do not know, or choose from layers that are on no tape."""


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StaticPass | None]]:
    """What became of every call, where the classes of these tests declare static graphs."""
    made: list[StaticPass | None] = []

    def watch(*args: object) -> StaticPass | None:
        made.append(static_pass(*args))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(chunking, "static_pass", watch)
    for kind in DECLARED:
        monkeypatch.setattr(kind, "static_graph", True, raising=False)
    return made


def both(
    model: nn.Module, batch: Tensor, weights: vkdnw.weights.Weights, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """The Jacobian as the call computes it, and as it does where autograd records the pass."""
    found = vkdnw.jacobian(model, batch, weights=weights)
    with monkeypatch.context() as patched:
        patched.setattr(chunking, "static_pass", lambda *_: None)
        return found, vkdnw.jacobian(model, batch, weights=weights)


@pytest.mark.parametrize("name", tapes.CASES)
@pytest.mark.parametrize("weights", [vkdnw.weights.first(), vkdnw.weights.spaced(3)])
def test_has_the_bits_of_the_recorded_pass(
    name: str,
    weights: vkdnw.weights.WeightChoice,
    passes: list[StaticPass | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = tapes.CASES[name]
    batch = torch.randn(5, 3, *case.size, generator=torch.Generator().manual_seed(1))
    found, expected = both(tapes.build(case), batch, weights, monkeypatch)
    assert torch.equal(found, expected)
    assert len(passes) == 1
    assert (passes[0] is not None) == (name in STATIC)


def test_a_layer_that_is_called_twice_has_the_derivatives_of_both(
    passes: list[StaticPass | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = tapes.block(16, 16)
    model = tapes.build(
        tapes.Case(lambda: nn.Sequential(layer, tapes.block(16, 16), layer), {}, 16)
    )
    batch = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found, expected = both(model, batch, vkdnw.weights.spaced(2), monkeypatch)
    assert passes[0] is not None
    assert torch.equal(found, expected)


@pytest.mark.parametrize("samples", [1, 9])
def test_has_the_same_bits_for_any_number_of_samples_and_threads(
    samples: int, passes: list[StaticPass | None]
) -> None:
    model = tapes.build(tapes.CASES["cell and reduction"])
    batch = torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = vkdnw.jacobian(model, batch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = vkdnw.jacobian(model, batch[:samples])
    finally:
        torch.set_num_threads(before)
    assert all(passes)
    torch.testing.assert_close(found, expected[:samples], rtol=1e-4, atol=1e-4)
    if samples == len(batch):
        assert torch.equal(found, expected)


def test_dense_rows_and_float64_are_recorded(passes: list[StaticPass | None]) -> None:
    model = tapes.build(tapes.CASES["cell and reduction"])
    batch = torch.randn(2, 3, 8, 8)
    vkdnw.jacobian(model, batch, weights={"head.2.weight": range(100)})
    vkdnw.jacobian(model.double(), batch.double())
    assert passes == [None, None]
