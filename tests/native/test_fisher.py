"""vkdnw.ops.fisher_accumulate_ and fisher_factor against explicit covariances and factors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.native import reference
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.fisher import fisher_accumulate_, fisher_factor, load

SHAPES = [(1, 2, 1), (1, 2, 7), (3, 4, 16), (5, 10, 33), (64, 10, 128), (2, 300, 20), (2, 3, 261)]
DTYPES = [torch.float64, torch.float32]


def problem(
    shape: tuple[int, int, int], dtype: torch.dtype, released: bool, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Jacobian [B, C - 1, P] and smoothed probabilities [B, C] of confident predictions."""
    samples, classes, columns = shape
    rng = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(samples, classes - 1, columns, generator=rng, dtype=torch.float64)
    logits = 5 * torch.randn(samples, classes, generator=rng, dtype=torch.float64)
    keep, smoothing = 0.95, 0.05
    if released and classes <= 10:
        # The published code rounds its smoothing to half precision: the sum is 1.00018. With many
        # classes that leaves nothing for the last ones, see test_refuses_by_name.
        keep, smoothing = 0.9501953125, 0.04998779296875
    return jacobian.to(dtype), logits.softmax(1) * keep + smoothing / classes


def fisher_from_zero(jacobian: Tensor, probabilities: Tensor, **options: object) -> Tensor:
    columns = jacobian.shape[2]
    zero = torch.zeros(columns, columns, dtype=torch.float64)
    return fisher_accumulate_(zero, jacobian, probabilities, **options)  # type: ignore[arg-type]


def magnitude(jacobian: Tensor, probabilities: Tensor) -> Tensor:
    """Sum of the absolute values of all terms of the Fisher matrix, which scales its rounding."""
    full = torch.cat([jacobian, torch.zeros_like(jacobian[:, :1])], dim=1).double().abs()
    p = probabilities
    return torch.einsum(
        "nip,nij,njq->pq", full, torch.diag_embed(p) + p[:, :, None] * p[:, None, :], full
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_covariance_form(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    """A float32 Jacobian loses nothing: its entries are exact, sums run in float64."""
    jacobian, p = problem(shape, dtype, released=False)
    error = (fisher_from_zero(jacobian, p) - reference.fisher(jacobian, p)).abs()
    terms = shape[0] * shape[1] ** 2
    bound = (terms + 10) * torch.finfo(torch.float64).eps * magnitude(jacobian, p)
    assert (error <= bound).all(), (error / bound).max()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_factor_equals_the_explicit_factor(
    shape: tuple[int, int, int], dtype: torch.dtype, released: bool
) -> None:
    jacobian, p = problem(shape, dtype, released)
    actual = fisher_factor(jacobian, p, released=released)
    expected = reference.fisher_factor(jacobian, p, released)
    assert actual.shape == (shape[0] * (shape[1] - (not released)), shape[2])
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_accumulates_the_factor(shape: tuple[int, int, int], released: bool) -> None:
    jacobian, p = problem(shape, torch.float64, released)
    factor = reference.fisher_factor(jacobian, p, released)
    start = factor.T @ factor + 1.0
    actual = fisher_accumulate_(start.clone(), jacobian, p, released=released, scale=-0.25)
    torch.testing.assert_close(actual, start - 0.25 * factor.T @ factor, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_float32_sums_in_float32(dtype: torch.dtype, released: bool) -> None:
    jacobian, p = problem((16, 10, 40), dtype, released)
    actual = torch.zeros(40, 40)
    fisher_accumulate_(actual, jacobian, p, released=released)
    factor = reference.fisher_factor(jacobian, p, released)
    # The sum over n rows, and the rounding of each row, which is itself a sum over C classes.
    bound = (len(factor) + 2 * 10 + 4) * torch.finfo(torch.float32).eps * magnitude(jacobian, p)
    error = (actual.double() - factor.T @ factor).abs()
    assert (error <= bound).all(), (error / bound).max()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_exactly_symmetric_with_any_thread_count(
    shape: tuple[int, int, int], released: bool
) -> None:
    jacobian, p = problem(shape, torch.float32, released)

    def run() -> tuple[Tensor, Tensor]:
        factor = fisher_factor(jacobian, p, released=released)
        return fisher_from_zero(jacobian, p, released=released), factor

    one, two = on_one_and_two_threads(run)
    assert torch.equal(one[0], one[0].T)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_takes_the_rows_of_a_larger_jacobian() -> None:
    jacobian, p = problem((4, 6, 50), torch.float32, released=False)
    padded = torch.full((4, 7, 60), float("nan"))
    padded[:, :5, 3:53] = jacobian
    view = padded[:, :5, 3:53]
    assert torch.equal(fisher_from_zero(view, p), fisher_from_zero(jacobian, p))


def test_depends_on_differences_between_classes_only() -> None:
    """All C rows of J give the Fisher matrix of their differences to the last."""
    rng = torch.Generator().manual_seed(1)
    full = torch.randn(3, 5, 8, generator=rng, dtype=torch.float64)
    _, p = problem((3, 5, 8), torch.float64, released=False)
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    expected = torch.einsum("nip,nij,njq->pq", full, covariance, full)
    actual = fisher_from_zero(full[:, :-1] - full[:, -1:], p)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "p", [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0.5, 0, 0], [1e-300, 0, 1, 1e-320]]
)
def test_rows_without_probability_are_zero_in_the_limit(p: list[float]) -> None:
    jacobian, _ = problem((1, 4, 5), torch.float64, released=False)
    probabilities = torch.tensor([p], dtype=torch.float64)
    actual = fisher_from_zero(jacobian, probabilities)
    expected = reference.fisher(jacobian, probabilities)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_not_a_number_in_the_jacobian_is_passed_on() -> None:
    jacobian, p = problem((2, 3, 4), torch.float64, released=False)
    jacobian[1, 0, 2] = float("nan")
    fisher = fisher_from_zero(jacobian, p)
    assert fisher[2].isnan().all()
    assert fisher[:2, :2].isfinite().all()


def test_no_samples_change_nothing() -> None:
    jacobian, p = problem((1, 3, 4), torch.float64, released=False)
    assert torch.equal(fisher_from_zero(jacobian[:0], p[:0]), torch.zeros(4, 4).double())
    assert fisher_factor(jacobian[:0], p[:0]).shape == (0, 4)


J, P = torch.zeros(2, 2, 4), torch.full((2, 3), 1 / 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": P.float()}, "probabilities must be a contiguous float64"),
        ({"probabilities": P[0]}, r"probabilities must be .* \[B, C\]"),
        ({"probabilities": P[:, :1]}, "1 classes; at least 2"),
        ({"probabilities": P[:1]}, "jacobian has 2 samples but probabilities has 1"),
        ({"probabilities": P * 0.99}, r"probabilities\[0\] sums to 0.99, not 1"),
        ({"probabilities": P * float("nan")}, r"probabilities\[0, 0\] is .*nan.* logits"),
        ({"probabilities": -P}, r"probabilities\[0, 0\] is -0.33"),
        ({"jacobian": torch.zeros(2, 3, 4)}, "jacobian has 3 rows for 3 classes, not 2"),
        ({"jacobian": torch.zeros(2, 2)}, "jacobian has 2 dimensions"),
        ({"jacobian": J.half()}, "jacobian is Half; it must be float64 or float32"),
        ({"jacobian": torch.zeros(2, 2, 8)[:, :, ::2]}, "jacobian has stride 2"),
        ({"fisher": torch.zeros(4, 3).double()}, r"fisher must have shape \[4, 4\]"),
        ({"fisher": torch.zeros(4, 8).double()[:, ::2]}, "fisher must be contiguous"),
        ({"fisher": torch.zeros(4, 4).half()}, "fisher is Half"),
        ({"scale": float("inf")}, "scale is inf"),
        ({"released": True, "probabilities": torch.tensor([[0.5, 0.5, 0.0]] * 2).double()},
         r"probabilities\[0\] leaves .* <= 0 .* use smoothing"),
    ],
)  # fmt: skip
def test_refuses_by_name(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "fisher": torch.zeros(4, 4, dtype=torch.float64), "jacobian": J, "probabilities": P,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        fisher_accumulate_(**(arguments | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(dtype: torch.dtype, released: bool) -> None:
    load()
    jacobian, p = problem((3, 4, 5), dtype, released)
    fisher = torch.zeros(5, 5, dtype=dtype)
    torch.library.opcheck(torch.ops.vkdnw.fisher_accumulate_, (fisher, jacobian, p, released, 0.5))
    torch.library.opcheck(torch.ops.vkdnw.fisher_factor, (jacobian, p, released))


def test_compiles_into_one_graph() -> None:
    load()
    jacobian, p = problem((3, 4, 5), torch.float64, released=False)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def gram(jacobian: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return fisher_accumulate_(torch.zeros(5, 5), jacobian, p), fisher_factor(jacobian, p)

    fisher, factor = gram(jacobian, p)
    torch.testing.assert_close(fisher.double(), factor.T @ factor, rtol=1e-5, atol=1e-5)
