"""The Jacobian of every case equals the slow reference, and says which parameters fell back."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases import CASES
from tests.library.cases.case import EVERY, Case
from tests.reference import reference_jacobian, reference_jacobian_by_loop
from vkdnw.weights import Selection, select

ROUNDING = 1e-12  # float64, relative to the parameter's largest derivative


def expected_jacobian(case: Case, model: nn.Module, selection: Selection) -> Tensor:
    if case.reference == "vmap":
        return reference_jacobian(model, case.batch(), selection, case.output)
    return reference_jacobian_by_loop(
        model, case.batch(), selection, case.output, alone=case.reference == "alone"
    )


def jacobian_and_fallback(
    model: nn.Module, batch: Any, **options: Any
) -> tuple[Tensor, tuple[str, ...]]:
    """The Jacobian, and the parameters that a warning says fell back."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", vkdnw.FallbackWarning)
        jacobian = vkdnw.jacobian(model, batch, **options)
    messages = [str(w.message) for w in caught if w.category is vkdnw.FallbackWarning]
    assert len(messages) <= 1, messages
    names = messages[0].rsplit(": ", 1)[1].split(", ") if messages else []
    return jacobian, tuple(names)


def assert_close(found: Tensor, expected: Tensor, selection: Selection, tolerance: float) -> None:
    """Every parameter's columns agree relative to their largest; says where they do not."""
    assert found.shape == expected.shape
    ends = [*selection.offsets[1:], len(selection)]
    for name, start, end in zip(selection.names, selection.offsets, ends, strict=True):
        scale = expected[:, :, start:end].abs().max()
        errors = (found - expected)[:, :, start:end].abs()
        at = torch.unravel_index(errors.argmax(), errors.shape)
        assert errors.max() <= tolerance * scale, (
            f"{name}: off by {errors.max():.3g} of {scale:.3g} at sample {at[0]}, class {at[1]}, "
            f"scalar {at[2]} of {end - start}"
        )


def columns_of(part: Selection, whole: Selection) -> Tensor:
    """Where the scalars of one selection are among those of another."""
    starts = dict(zip(whole.names, whole.offsets, strict=True))
    found = []
    for name, index in zip(part.names, part.indices, strict=True):
        position = whole.names.index(name)
        found.append(starts[name] + torch.searchsorted(whole.indices[position], index))
    return torch.cat(found)


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
        found, announced = jacobian_and_fallback(model, batch, weights=weights, output=case.output)
        assert announced == fallback
        assert_close(found, expected[:, :, columns_of(part, whole)], part, ROUNDING)
