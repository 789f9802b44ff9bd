"""Fisher matrix, spectrum and score: against explicit formulas, along every path of computation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Forward, images, linears, randomise, vectors
from tests.library.cases.networks import residual_network
from tests.reference import reference_fisher, reference_jacobian, reference_logits, spectrum_score
from vkdnw import fisher_information, spectrum
from vkdnw.weights import select

CONVENTIONS = ("fisher", "released")


def mlp(classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
    model.append(nn.Linear(5, classes))
    randomise(model)
    return model.double().eval()


def batch() -> Tensor:
    torch.manual_seed(2)
    return 2 * vectors().double()


def expected_fisher(model: nn.Module, x: Tensor, weights: Any, **options: Any) -> Tensor:
    selection = select(model, weights)
    jacobian = reference_jacobian(model, x, selection)
    return reference_fisher(jacobian, reference_logits(model, x), **options)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_fisher_matrix_and_score(convention: str, smoothing: float, classes: int) -> None:
    model, x = mlp(classes), batch()
    options: dict[str, Any] = {"smoothing": smoothing, "convention": convention}
    weights = vkdnw.weights.spaced(4)
    expected = expected_fisher(model, x, weights, **options)
    matrix = vkdnw.fisher(model, x, weights=weights, **options)
    assert matrix.dtype == torch.float64
    assert torch.equal(matrix, matrix.T)
    torch.testing.assert_close(matrix, expected, rtol=1e-10, atol=1e-12 * expected.abs().max())
    score = vkdnw.score(model, x, weights=weights, **options)
    reference = spectrum_score(expected)
    rounding = 1e-13 * float(reference.eigenvalues.max())
    torch.testing.assert_close(score.eigenvalues, reference.eigenvalues, rtol=1e-9, atol=rounding)
    torch.testing.assert_close(score.deciles, reference.deciles, rtol=1e-9, atol=rounding)
    assert score.vkdnw == pytest.approx(reference.vkdnw, abs=1e-9)
    assert 0 <= score.vkdnw <= math.log(9)
    assert (score.layers, score.single) == (6, 6 + score.vkdnw)


# ---- the paths of computation ------------------------------------------


class Paths:
    """Which selections were turned into factors, and whether a [P, P] matrix was made."""

    def __init__(self) -> None:
        self.blocks: list[int] = []  # scalars of each Jacobian of some samples
        self.derivatives = 0  # of one class, in all of them
        self.matrices = 0


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    seen = Paths()
    factor, matrix = fisher_information.fisher_factor, fisher_information.fisher_matrix

    def spy_factor(jacobian: Tensor, *rest: Any, **options: Any) -> Tensor:
        seen.blocks.append(jacobian.shape[-1])
        seen.derivatives += len(jacobian) * jacobian.shape[-1]
        return factor(jacobian, *rest, **options)

    def spy_matrix(*args: Any) -> Tensor:
        seen.matrices += 1
        return matrix(*args)

    monkeypatch.setattr(fisher_information, "fisher_factor", spy_factor)
    monkeypatch.setattr(fisher_information, "fisher_matrix", spy_matrix)
    return seen


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_dual_spectrum_is_the_primal_one(paths: Paths, convention: str) -> None:
    model, x = mlp(), batch()
    scalars = sum(parameter.numel() for parameter in model.parameters())
    rows = len(x) * (3 if convention == "released" else 2)
    assert scalars > 5 * rows
    options: dict[str, Any] = {"weights": vkdnw.weights.every(), "convention": convention}
    direct = vkdnw.score(model, x, **options)
    assert (paths.blocks, paths.matrices) == ([scalars], 0)
    paths.blocks.clear()
    paths.derivatives = 0
    budget = 4 * (8 * rows * rows + 17 * 16 * rows)  # room for 17 columns at a time
    dual = vkdnw.score(model, x, max_memory=budget, **options)
    assert paths.matrices == 0
    assert paths.derivatives == len(x) * scalars
    assert max(paths.blocks) == 17
    reference = spectrum_score(expected_fisher(model, x, options["weights"], convention=convention))
    rounding = 1e-14 * float(reference.eigenvalues.max())
    for found in (direct, dual):
        assert found.eigenvalues.shape == (scalars,)
        assert (found.eigenvalues[:-rows] == 0).all()
        assert (found.eigenvalues.diff() >= 0).all()
        torch.testing.assert_close(
            found.eigenvalues, reference.eigenvalues, rtol=1e-9, atol=rounding
        )


def test_one_column_at_a_time_is_enough(paths: Paths) -> None:
    model, x = mlp(), batch()
    rows = 2 * len(x)
    least = 4 * (8 * rows * rows + 16 * rows)
    weights = vkdnw.weights.every()
    direct = vkdnw.score(model, x, weights=weights)
    found = vkdnw.score(model, x, weights=weights, max_memory=least)
    assert max(paths.blocks[1:]) == 1
    rounding = 1e-14 * float(direct.eigenvalues.max())
    torch.testing.assert_close(found.eigenvalues, direct.eigenvalues, rtol=1e-9, atol=rounding)
    with pytest.raises(MemoryError, match=r"dual Gram matrix \[10, 10\] takes 800"):
        vkdnw.score(model, x, weights=weights, max_memory=least - 4)


def test_many_samples_and_few_scalars_take_the_matrix(paths: Paths) -> None:
    model = mlp()
    x = torch.randn(400, 4, dtype=torch.float64)
    direct = vkdnw.score(model, x)
    found = vkdnw.score(model, x, max_memory=100_000)
    assert (len(paths.blocks), paths.matrices) == (1, 1)
    rounding = 1e-14 * float(direct.eigenvalues.max())
    torch.testing.assert_close(found.eigenvalues, direct.eigenvalues, rtol=1e-9, atol=rounding)


def test_small_eigenvalues_keep_their_digits() -> None:
    # Scalars of very different sizes: the matrix's own rounding would bury the small ones.
    model, x = mlp(), batch()
    scale = torch.logspace(0, -9, 6, dtype=torch.float64)
    selection = select(model, vkdnw.weights.first())
    jacobian = vkdnw.jacobian(model, x)

    def run(m: Any, given: Tensor) -> Tensor:
        return torch.einsum("ncp,p->nc", jacobian.index_select(0, given.long()), m.theta * scale)

    linear = Forward(run, theta=nn.Parameter(torch.zeros(len(selection), dtype=torch.float64)))
    found = vkdnw.score(linear, torch.arange(5.0).double(), weights=vkdnw.weights.every())
    bottom = expected_smallest(jacobian * scale, linear, torch.arange(5.0).double())
    assert found.eigenvalues[0] == pytest.approx(bottom, rel=1e-8)
    assert found.eigenvalues[0] < torch.finfo(torch.float64).eps * found.eigenvalues[-1]


def expected_smallest(jacobian: Tensor, model: nn.Module, x: Tensor) -> float:
    """1 / the largest eigenvalue of the inverse, scaled so that nothing is lost."""
    matrix = reference_fisher(jacobian, reference_logits(model, x))
    size = matrix.diagonal().sqrt()
    correlation = matrix / size[:, None] / size
    inverse = torch.linalg.inv(correlation) / size[:, None] / size
    return 1 / float(torch.linalg.eigvalsh((inverse + inverse.T) / 2)[-1])


# ---- invariance ------------------------------------------


def test_any_number_of_threads_gives_the_same_bits() -> None:
    torch.manual_seed(3)
    model = residual_network(16).eval()
    x = torch.randn(19, 3, 12, 12)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        jacobian, matrix = vkdnw.jacobian(model, x), vkdnw.fisher(model, x)
        score = vkdnw.score(model, x)
        found.append((jacobian, matrix, score.eigenvalues, score.deciles, score.vkdnw))
        assert torch.get_num_threads() == threads
    for other in found[1:]:
        assert all(map(torch.equal, other[:4], found[0][:4]))
        assert other[4] == found[0][4]


def test_the_matrix_is_a_mean_over_samples() -> None:
    model, x = mlp(), batch()
    whole = vkdnw.fisher(model, x)
    parts = [vkdnw.fisher(model, x[n : n + 1]) for n in range(len(x))]
    torch.testing.assert_close(torch.stack(parts).mean(0), whole, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(vkdnw.fisher(model, x.flip(0)), whole, rtol=1e-12, atol=1e-15)


def test_the_order_of_classes_does_not_matter() -> None:
    model, x = mlp(4), batch()
    turned = Forward(lambda m, given: m.model(given)[:, [2, 0, 3, 1]], model=model)
    torch.testing.assert_close(
        vkdnw.fisher(turned, x), vkdnw.fisher(model, x), rtol=1e-11, atol=1e-15
    )


def test_a_constant_added_to_all_logits_does_not_matter() -> None:
    model, x = mlp(4), batch()
    shifted = Forward(lambda m, given: m.model(given) + 7 * given[:, :1], model=model)
    torch.testing.assert_close(
        vkdnw.fisher(shifted, x), vkdnw.fisher(model, x), rtol=1e-10, atol=1e-14
    )


# ---- the text of a score ------------------------------------------


def test_a_score_names_what_fell_back_and_what_was_not_reached_without_a_warning() -> None:
    model = Forward(
        lambda m, x: m.fc(x) * m.scale,
        **linears(unused=(4, 4), fc=(4, 3))(),
        scale=nn.Parameter(torch.ones(())),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", vkdnw.FallbackWarning)
        score = vkdnw.score(model, vectors())
    assert score.fallback == ("scale",)
    assert score.unreached == ("unused.weight", "unused.bias")
    assert score.layers == 5
    assert (score.eigenvalues[:2] == 0).all()


def test_a_warning_points_at_the_caller() -> None:
    model = Forward(
        lambda m, x: m.fc(x) * m.scale, **linears(fc=(4, 3))(), scale=nn.Parameter(torch.ones(()))
    )
    for call in (vkdnw.jacobian, vkdnw.fisher):
        with pytest.warns(vkdnw.FallbackWarning, match=r"1 parameters .*: scale$") as caught:
            call(model, vectors())
        assert [warning.filename for warning in caught] == [__file__]


def test_results_are_plain_tensors_on_the_models_device() -> None:
    model = residual_network().eval()
    for result in (vkdnw.jacobian(model, images()), vkdnw.fisher(model, images())):
        assert not result.requires_grad
        assert result.grad_fn is None
        assert result.device == torch.device("cpu")
    assert vkdnw.jacobian(model, images()).dtype == torch.float32


# ---- deciles and their entropy ------------------------------------------


def test_deciles_are_linear_quantiles() -> None:
    values = torch.randn(57, dtype=torch.float64).square()
    levels = torch.arange(1, 10, dtype=torch.float64) / 10
    torch.testing.assert_close(
        spectrum.deciles(values), torch.quantile(values, levels), rtol=1e-12, atol=0
    )
    assert spectrum.deciles(torch.tensor([3.0])).tolist() == [3.0] * 9


def test_entropies_of_known_spectra() -> None:
    assert spectrum.entropy(torch.full((9,), 5.0)) == pytest.approx(math.log(9), abs=1e-9)
    assert spectrum.entropy(torch.tensor([0.0] * 8 + [5.0])) == pytest.approx(0, abs=1e-7)
    assert spectrum.entropy(torch.zeros(9)) == 0.0
    assert spectrum.entropy(torch.tensor([0.0] * 7 + [2.0, 2.0])) == pytest.approx(
        math.log(2), abs=1e-7
    )
