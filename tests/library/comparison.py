"""Comparing Jacobians, and reading the library's warnings."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Case
from tests.reference import reference_jacobian, reference_jacobian_by_loop
from vkdnw.weights import Selection

ROUNDING = 1e-12  # float64, relative to the parameter's largest derivative


def expected_jacobian(case: Case, model: nn.Module, selection: Selection) -> Tensor:
    """The slow reference's Jacobian of a case."""
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


def assert_close(
    found: Tensor,
    expected: Tensor,
    selection: Selection,
    tolerance: float = ROUNDING,
    *,
    floor: float = 0.0,
) -> None:
    """Every parameter's columns agree relative to their largest; says where they do not.

    ``floor`` is added to the tolerance, relative to the largest of all (or to 1): for models in
    which terms cancel to derivatives of zero.
    """
    assert found.shape == expected.shape
    allowed = floor * expected.abs().max().clamp(min=1.0)
    ends = [*selection.offsets[1:], len(selection)]
    for name, start, end in zip(selection.names, selection.offsets, ends, strict=True):
        scale = expected[:, :, start:end].abs().max()
        errors = (found - expected)[:, :, start:end].abs()
        at = torch.unravel_index(errors.argmax(), errors.shape)
        assert errors.max() <= tolerance * scale + allowed, (
            f"{name}: off by {errors.max():.3g} of {scale:.3g} at sample {at[0]}, class {at[1]}, "
            f"scalar {at[2]} of {end - start}"
        )


def smallest_budget(model: nn.Module, batch: Any, **options: Any) -> int:
    """The least ``max_memory`` with which the library says it can differentiate a model."""
    with pytest.raises(MemoryError) as refusal:
        vkdnw.jacobian(model, batch, max_memory=1, **options)
    found = re.search(r"takes (\d) samples .* one needs about (\d+) bytes", str(refusal.value))
    assert found is not None, refusal.value
    return int(found[1]) * int(found[2])


def columns_of(part: Selection, whole: Selection) -> Tensor:
    """Where the scalars of one selection are among those of another."""
    starts = dict(zip(whole.names, whole.offsets, strict=True))
    found = []
    for name, index in zip(part.names, part.indices, strict=True):
        position = whole.names.index(name)
        found.append(starts[name] + torch.searchsorted(whole.indices[position], index))
    return torch.cat(found)
