"""The plain torch versions of the ops against the same references as the native ones."""

from __future__ import annotations

import pytest
import torch

from tests.native import reference
from tests.native import test_fisher as of_fisher
from tests.native import test_jacobian_columns as of_columns
from tests.native.test_low_rank_spectrum import (
    exact_spectrum,
    relative_bound,
    relative_error,
    well_conditioned,
)
from vkdnw.ops import library, plain
from vkdnw.ops.jacobian_columns import ONES


@pytest.fixture(autouse=True)
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.PLAIN, "1")


def test_the_constant_is_that_of_the_op() -> None:
    assert plain.ONES == ONES


def test_no_native_op_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """So whatever runs in a process that was started so shows what is computed without."""
    monkeypatch.setattr(library, "_loaded", False)
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (7, 5), (5, 7), (30, 9), (16, 17)])
def test_low_rank_spectrum(shape: tuple[int, int], dtype: torch.dtype) -> None:
    factor = well_conditioned(shape).to(dtype)
    error = relative_error(plain.low_rank_spectrum(factor), exact_spectrum(factor))
    assert error.max() <= relative_bound(shape, dtype), error


def test_scalars_that_nothing_depends_on_have_eigenvalue_zero() -> None:
    factor = torch.cat([well_conditioned((9, 4)), torch.zeros(9, 2, dtype=torch.float64)], 1)
    spectrum = plain.low_rank_spectrum(factor)
    assert (spectrum[:2] == 0).all()
    assert (spectrum[2:] > 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_spectrum_of_no_numbers_is_refused(bad: float) -> None:
    factor = well_conditioned((4, 3))
    factor[1, 1] = bad
    with pytest.raises(ValueError, match="NaN or an infinity"):
        plain.low_rank_spectrum(factor)
