"""The Jacobian of every case equals the slow reference, and says which parameters fell back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vkdnw
from tests.library.cases import CASES
from tests.library.cases.case import EVERY, Case, images
from tests.library.cases.networks import residual_network
from tests.library.comparison import (
    assert_close,
    columns_of,
    expected_jacobian,
    jacobian_and_fallback,
)
from vkdnw.weights import select

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")  # torch's own, about cases and reference
    for message in (
        "There is a performance drop",
        "Using padding='same'",
        ".*weight_norm. is deprecated",
        ".*jit.script. is deprecated",
    )
]


def some_of_each(model: nn.Module) -> dict[str, list[int]]:
    """A run of scalars in the middle of every parameter: parts of rows, first rows left out."""
    return {
        name: list(range(parameter.numel() // 3, parameter.numel() - parameter.numel() // 4))
        for name, parameter in model.named_parameters()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_jacobian_is_exact(case: Case) -> None:
    model, batch = case.model(), case.batch()
    whole = select(model, vkdnw.weights.every())
    expected = expected_jacobian(case, model, whole)
    fallback = tuple(whole.names) if case.fallback == EVERY else case.fallback
    for weights in (
        vkdnw.weights.every(),
        vkdnw.weights.first(),
        vkdnw.weights.spaced(3),
        some_of_each(model),
    ):
        part = select(model, weights)
        found, announced = jacobian_and_fallback(
            model, batch, weights=weights, output=case.output, mode="reverse"
        )
        assert announced == fallback
        assert_close(found, expected[:, :, columns_of(part, whole)], part)


def test_a_compiled_model_is_taken_as_what_it_wraps() -> None:
    model, x = residual_network().eval(), images()
    compiled = torch.compile(model, backend=lambda graph, inputs: pytest.fail("was compiled"))
    assert torch.equal(vkdnw.jacobian(compiled, x), vkdnw.jacobian(model, x))
