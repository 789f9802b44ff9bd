"""vkdnw.ops.low_rank_spectrum on the CPU against singular values computed with 60 digits.

That of a GPU is tested in `tests/cuda/test_ops_on_gpu.py`, and its kernels in `csrc/tests/cuda/`.
"""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor

from vkdnw.ops.spectrum import low_rank_spectrum

DTYPES = [torch.float64, torch.float32]
SHAPES = [(1, 1), (1, 6), (6, 1), (7, 5), (5, 7), (12, 12), (30, 9), (9, 30), (16, 17)]


def exact_spectrum(factor: Tensor) -> Tensor:
    """Squared singular values, ascending, float64."""
    with mpmath.workdps(60):
        tall = factor if factor.shape[0] >= factor.shape[1] else factor.T
        values = mpmath.svd_r(mpmath.matrix(tall.double().tolist()), compute_uv=False)
        return torch.tensor(sorted(float(v**2) for v in values), dtype=torch.float64)


def well_conditioned(shape: tuple[int, int], seed: int = 0) -> Tensor:
    """Random, with singular values from 1 to 10."""
    rng = torch.Generator().manual_seed(seed)
    u, s, vh = torch.linalg.svd(
        torch.randn(shape, generator=rng, dtype=torch.float64), full_matrices=False
    )
    result: Tensor = u @ torch.diag(torch.linspace(1, 10, len(s), dtype=torch.float64)) @ vh
    return result


def relative_bound(shape: tuple[int, ...], dtype: torch.dtype) -> float:
    """max(M, P) * eps * condition (10), and 4 for the square and the two factorisations."""
    return 4 * max(shape) * 10 * torch.finfo(dtype).eps


def relative_error(actual: Tensor, expected: Tensor) -> Tensor:
    return ((actual.double() - expected) / expected).abs()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_well_conditioned(shape: tuple[int, int], dtype: torch.dtype) -> None:
    factor = well_conditioned(shape).to(dtype)
    error = relative_error(low_rank_spectrum(factor), exact_spectrum(factor))
    assert error.max() <= relative_bound(shape, dtype), error


@pytest.mark.parametrize("order", ["descending", "ascending", "shuffled"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 8), (30, 9), (9, 30), (17, 16)])
def test_every_singular_value_is_right_to_rounding_of_the_largest(
    shape: tuple[int, int], dtype: torch.dtype, order: str
) -> None:
    """Columns from 1 to 1e-12; below that rounding, eigenvalues are zero."""
    columns = shape[1]
    scale = torch.logspace(0, -12, columns, dtype=torch.float64)
    if order == "ascending":
        scale = scale.flip(0)
    if order == "shuffled":
        scale = scale[torch.randperm(columns, generator=torch.Generator().manual_seed(0))]
    factor = (well_conditioned(shape) * scale).to(dtype)
    found, expected = low_rank_spectrum(factor).double().sqrt(), exact_spectrum(factor).sqrt()
    rounding = max(shape) * torch.finfo(dtype).eps * expected[-1]
    assert ((found - expected).abs() <= rounding).all()
    assert (found[expected < 1e-3 * rounding] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (12, 12)])
@pytest.mark.parametrize("rank", [1, 5])
def test_rank_deficient(shape: tuple[int, int], rank: int, dtype: torch.dtype) -> None:
    """Small whole numbers, so that the rank is exact: there are as many zeros as it leaves."""
    rng = torch.Generator().manual_seed(0)
    left = torch.randint(-3, 4, (shape[0], rank), generator=rng).to(dtype)
    factor = left @ torch.randint(-3, 4, (rank, shape[1]), generator=rng).to(dtype)
    spectrum = low_rank_spectrum(factor).double()
    expected = exact_spectrum(factor)
    zeros = len(spectrum) - rank
    assert (spectrum[:zeros] == 0).all()
    tolerance = max(shape) * torch.finfo(dtype).eps * expected[-1] / expected[zeros:]
    assert (relative_error(spectrum, expected)[zeros:] <= tolerance).all()


def test_scalars_that_nothing_depends_on_have_eigenvalue_zero() -> None:
    factor = torch.cat([well_conditioned((9, 4)), torch.zeros(9, 2, dtype=torch.float64)], 1)
    spectrum = low_rank_spectrum(factor)
    assert (spectrum[:2] == 0).all()
    assert (spectrum[2:] > 0).all()


def test_a_batch_is_each_matrix_alone() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = torch.randn(3, 2, 20, 9, generator=rng, dtype=torch.float64)
    alone = torch.stack([low_rank_spectrum(m) for m in batch.flatten(0, 1)]).unflatten(0, (3, 2))
    assert torch.equal(low_rank_spectrum(batch), alone)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_columns(dtype: torch.dtype) -> None:
    """Tied parameters: one eigenvalue."""
    spectrum = low_rank_spectrum(torch.ones(9, 4, dtype=dtype))
    torch.testing.assert_close(spectrum[-1], torch.tensor(36.0, dtype=dtype))
    assert (spectrum[:-1] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1)])
def test_zero(shape: tuple[int, int], dtype: torch.dtype) -> None:
    spectrum = low_rank_spectrum(torch.zeros(shape, dtype=dtype))
    assert torch.equal(spectrum, torch.zeros(min(shape), dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float64, 1e150),
        (torch.float64, 1e-150),
        (torch.float32, 1e17),
        (torch.float32, 1e-17),
    ],
)
def test_scaling_the_factor_scales_the_spectrum(dtype: torch.dtype, scale: float) -> None:
    """Near the ends of the range of squares."""
    factor = well_conditioned((12, 8)).to(dtype)
    scaled = factor * 2.0 ** torch.tensor(scale, dtype=torch.float64).log2().round()
    ratio = low_rank_spectrum(scaled) / low_rank_spectrum(factor)
    bound = 2 * relative_bound((12, 8), dtype)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=bound, atol=0)


def test_takes_any_strides_and_leaves_the_factor_as_it_was() -> None:
    factor = well_conditioned((12, 8))
    before = factor.clone()
    torch.testing.assert_close(low_rank_spectrum(factor.T), low_rank_spectrum(factor))
    assert torch.equal(factor, before)


def test_empty_batch() -> None:
    assert low_rank_spectrum(torch.zeros(0, 4, 3)).shape == (0, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("position", [0, 7, 19])
@pytest.mark.parametrize("dtype", DTYPES)
def test_not_finite_is_an_error(dtype: torch.dtype, position: int, value: float) -> None:
    factor = torch.ones(3, 4, 5, dtype=dtype)
    factor[1].view(-1)[position] = value
    with pytest.raises(ValueError, match="NaN or an infinity in matrix 1 of the batch"):
        low_rank_spectrum(factor)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (torch.ones(3), r"1 dimensions; it must be \[..., M, P\]"),
        (torch.ones(0, 3), "matrices of 0 by 3"),
        (torch.ones(2, 3, 0), "matrices of 3 by 0"),
        (torch.ones(2, 3).half(), r"factor is torch.float16; it must be float64 or float32"),
        (torch.full((2, 3), 1e30), "overflows the dtype of factor; .* use float64"),
    ],
)
def test_refuses_by_name(factor: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        low_rank_spectrum(factor)
