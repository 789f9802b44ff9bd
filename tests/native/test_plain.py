"""The plain torch versions of the ops against the same references as the native ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.native import reference
from tests.native import test_fisher as of_fisher
from tests.native import test_jacobian_columns as of_columns
from vkdnw.ops import library, plain
from vkdnw.ops.jacobian_columns import ONES


@pytest.fixture(autouse=True)
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.PLAIN, "1")


def test_the_constant_is_that_of_the_op() -> None:
    assert plain.ONES == ONES


def test_no_native_op_can_be_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that was started so computes without the library."""
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")  # not loaded yet
    with pytest.raises(library.NativeLibraryError, match="VKDNW_PLAIN=1 asks for plain torch"):
        library.load()


@pytest.mark.parametrize("dtype", of_columns.STORAGE)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced", "expanded"])
@pytest.mark.parametrize("seed", range(4))
def test_jacobian_columns(seed: int, layout: str, dtype: torch.dtype) -> None:
    case = of_columns.random_case(seed, dtype, (layout,))
    error = (case.run().double() - case.expected()).abs()
    assert (error <= case.error_bound()).all(), (error / case.error_bound()).max()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", of_fisher.DTYPES)
@pytest.mark.parametrize("shape", of_fisher.SHAPES)
def test_fisher_factor(shape: tuple[int, int, int], dtype: torch.dtype, released: bool) -> None:
    of_fisher.test_factor_equals_the_explicit_factor(shape, dtype, released)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("shape", of_fisher.SHAPES)
def test_fisher_accumulate(shape: tuple[int, int, int], released: bool) -> None:
    of_fisher.test_accumulates_the_factor(shape, released)
    of_fisher.test_exactly_symmetric_with_any_thread_count(shape, released)


@pytest.mark.parametrize(
    "p", [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0.5, 0, 0], [1e-300, 0, 1, 1e-320]]
)
def test_rows_without_probability_are_zero_in_the_limit(p: list[float]) -> None:
    of_fisher.test_rows_without_probability_are_zero_in_the_limit(p)


def test_only_the_lower_triangle_is_read() -> None:
    jacobian, p = of_fisher.problem((3, 4, 5), torch.float64, released=False)
    start = torch.zeros(5, 5, dtype=torch.float64)
    start[torch.ones(5, 5).triu(1).bool()] = float("nan")
    found = of_fisher.fisher_accumulate_(start, jacobian, p)
    torch.testing.assert_close(found, reference.fisher(jacobian, p), rtol=1e-12, atol=1e-12)


def test_a_factor_that_does_not_exist_is_refused() -> None:
    jacobian, _ = of_fisher.problem((1, 3, 4), torch.float64, released=True)
    with pytest.raises(ValueError, match=r"leaves .* <= 0 .* use smoothing"):
        of_fisher.fisher_factor(jacobian, torch.tensor([[0.5, 0.5, 0.0]]).double(), released=True)
