"""vkdnw.ops.low_rank_spectrum against singular values computed with 60 digits."""

from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor

from vkdnw.ops.spectrum import load, low_rank_spectrum

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
@pytest.mark.parametrize("shape", [(8, 8), (30, 9), (9, 9), (12, 8), (17, 16)])
def test_scaled_columns_keep_every_eigenvalue(
    shape: tuple[int, int], dtype: torch.dtype, order: str
) -> None:
    """Columns from 1 to 1e-12: eigenvalues span 24 decades, and each is right."""
    columns = shape[1]
    scale = torch.logspace(0, -12, columns, dtype=torch.float64)
    if order == "ascending":
        scale = scale.flip(0)
    if order == "shuffled":
        scale = scale[torch.randperm(columns, generator=torch.Generator().manual_seed(0))]
    factor = (well_conditioned(shape) * scale).to(dtype)
    expected = exact_spectrum(factor)
    assert expected[0] < 1e-20 * expected[-1]
    error = relative_error(low_rank_spectrum(factor), expected)
    assert error.max() <= relative_bound(shape, dtype), error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(9, 30), (5, 7), (16, 17)])
def test_scaled_columns_of_a_wide_factor(shape: tuple[int, int], dtype: torch.dtype) -> None:
    scale = torch.logspace(0, -12, shape[1], dtype=torch.float64)
    order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(0))
    factor = (well_conditioned(shape) * scale[order]).to(dtype)
    expected = exact_spectrum(factor)
    error = relative_error(low_rank_spectrum(factor), expected)
    assert error.max() <= 10 * relative_bound(shape, dtype), error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(40, 128), (144, 128), (130, 61), (33, 33)])
def test_agrees_with_svdvals(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """At the sizes of use, to the absolute accuracy that svdvals has."""
    factor = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.linalg.svdvals(factor.to(dtype).double()).flip(0).square()
    error = (low_rank_spectrum(factor.to(dtype)).double() - expected).abs()
    assert error.max() <= 4 * max(shape) * torch.finfo(dtype).eps * expected[-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (12, 12)])
@pytest.mark.parametrize("rank", [1, 5])
def test_rank_deficient(shape: tuple[int, int], rank: int, dtype: torch.dtype) -> None:
    """Small whole numbers, so that the rank is exact: what is not there stays below rounding."""
    rng = torch.Generator().manual_seed(0)
    left = torch.randint(-3, 4, (shape[0], rank), generator=rng).to(dtype)
    factor = left @ torch.randint(-3, 4, (rank, shape[1]), generator=rng).to(dtype)
    spectrum = low_rank_spectrum(factor).double()
    expected = exact_spectrum(factor)
    zeros = len(spectrum) - rank
    bound = max(shape) * torch.finfo(dtype).eps
    assert (spectrum[:zeros] <= bound**2 * spectrum[-1]).all()
    tolerance = bound * expected[-1] / expected[zeros:]
    assert (relative_error(spectrum, expected)[zeros:] <= tolerance).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_columns(dtype: torch.dtype) -> None:
    """Tied parameters: one eigenvalue, exactly zero others where subtraction is exact."""
    spectrum = low_rank_spectrum(torch.ones(9, 4, dtype=dtype))
    torch.testing.assert_close(spectrum[-1], torch.tensor(36.0, dtype=dtype))
    assert (spectrum[:-1] <= 36 * torch.finfo(dtype).eps ** 2 * 36).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1)])
def test_zero(shape: tuple[int, int], dtype: torch.dtype) -> None:
    spectrum = low_rank_spectrum(torch.zeros(shape, dtype=dtype))
    assert torch.equal(spectrum, torch.zeros(min(shape), dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_orthogonal_columns_are_read_off(dtype: torch.dtype) -> None:
    factor = torch.diag(torch.tensor([3.0, 1e-9, 2.0, 0.0], dtype=dtype))
    actual = low_rank_spectrum(factor)
    expected = torch.tensor([0.0, 1e-9, 2.0, 3.0], dtype=dtype).square()
    assert actual[0] == 0.0
    torch.testing.assert_close(actual, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


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
    """Near the ends of the range, where squares of inner products would overflow or vanish."""
    factor = well_conditioned((12, 8)).to(dtype)
    scaled = factor * 2.0 ** torch.tensor(scale, dtype=torch.float64).log2().round()
    ratio = low_rank_spectrum(scaled) / low_rank_spectrum(factor)
    assert torch.equal(ratio, ratio[:1].expand_as(ratio))


def test_batch_is_each_matrix_alone_for_any_thread_count() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = torch.randn(3, 2, 20, 9, generator=rng, dtype=torch.float64)
    alone = torch.stack([low_rank_spectrum(m) for m in batch.flatten(0, 1)]).unflatten(0, (3, 2))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert torch.equal(low_rank_spectrum(batch), alone)
    finally:
        torch.set_num_threads(threads)


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
        (torch.ones(2, 3).half(), "factor is Half; it must be float64 or float32"),
        (torch.full((2, 3), 1e30), "overflows the dtype of factor; .* use float64"),
    ],
)
def test_refuses_by_name(factor: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        low_rank_spectrum(factor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 5, 3), (4, 7)])
def test_opcheck(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    load()
    factor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.library.opcheck(torch.ops.vkdnw.low_rank_spectrum, (factor,))


def test_compiles_into_one_graph() -> None:
    load()
    factor = well_conditioned((6, 4))
    compiled = torch.compile(low_rank_spectrum, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(factor), low_rank_spectrum(factor))
