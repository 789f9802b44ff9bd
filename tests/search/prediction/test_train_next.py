"""Few trained networks: a training-free ranking, corrected by a Gaussian process."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, norm
from sklearn.gaussian_process import GaussianProcessRegressor

from vkdnw.search.prediction import train_next
from vkdnw.search.prediction.forest import PredictionError
from vkdnw.search.prediction.simulation import SHARE, simulate, summary
from vkdnw.search.prediction.train_next import (
    PRIOR_SLOPE,
    PSEUDO_COUNT,
    STRATEGIES,
    Candidates,
    Model,
    candidates,
    expected_scores,
    improvement,
    next_to_train,
    normal_scores,
)

RNG = np.random.default_rng(0)
N = 80
QUALITY = RNG.normal(size=N)
PRIOR = QUALITY + 0.7 * RNG.normal(size=N)
"""A training-free ranking that is right in part."""
MISSED = QUALITY - 0.7 * PRIOR + 0.2 * RNG.normal(size=N)
"""A score that tells the residual of the ranking."""
INDEX = pd.Index([f"network {k}" for k in range(N)])
FEATURES = pd.DataFrame({"missed": MISSED, "noise": RNG.normal(size=N)}, INDEX)
KNOWN = candidates(FEATURES, pd.Series(PRIOR, INDEX))
ACCURACIES = 90 + 3 * QUALITY


def tau(a: np.ndarray, b: np.ndarray) -> float:
    return float(kendalltau(a, b).statistic)


# ---- the model ---------------------------------------------------------------------------------


def test_normal_scores_are_quantiles_in_the_order_of_the_values() -> None:
    assert normal_scores(np.array([10.0, -5.0, 3.0])) == pytest.approx(
        norm.ppf([5 / 6, 1 / 6, 1 / 2])
    )
    assert normal_scores(np.array([1.0, 1.0, 2.0]))[:2] == pytest.approx(norm.ppf([1 / 3, 1 / 3]))
    assert not normal_scores(np.ones(4)).any()


def test_without_accuracies_the_model_is_the_training_free_ranking() -> None:
    mean, deviation = Model(KNOWN).predict(np.array([], np.intp), np.array([]))
    assert mean == pytest.approx(PRIOR_SLOPE * normal_scores(PRIOR))
    assert (deviation == 1).all()


def test_twenty_accuracies_correct_the_ranking() -> None:
    trained = np.arange(20)
    mean, _ = Model(KNOWN).predict(trained, ACCURACIES[trained])
    rest = np.arange(20, N)
    assert tau(mean[rest], ACCURACIES[rest]) > tau(PRIOR[rest], ACCURACIES[rest]) + 0.05


def test_the_posterior_is_ridge_regression_and_a_gaussian_process() -> None:
    """Written out: the line by its normal equations, the process by its formula."""
    trained = np.arange(15)
    p, z = KNOWN.prior, KNOWN.scores
    y = expected_scores(ACCURACIES[trained], p[trained])
    model = Model(KNOWN)
    mean, deviation = model.predict(trained, ACCURACIES[trained])
    X = np.stack([np.ones(15), p[trained]], 1)
    precision = X.T @ X + PSEUDO_COUNT * np.eye(2)
    line = np.linalg.solve(precision, X.T @ y + PSEUDO_COUNT * np.array([0, PRIOR_SLOPE]))
    a, b = line
    kernel = model._process(15).kernel
    first = kernel.k1
    K = kernel(z[trained]) + 1e-10 * np.eye(15)
    across = first(z, z[trained])
    assert mean == pytest.approx(
        a + b * p + across @ np.linalg.solve(K, y - a - b * p[trained]), abs=1e-8
    )
    variance = np.diag(kernel(z)) - (across * np.linalg.solve(K, across.T).T).sum(1)
    assert deviation**2 == pytest.approx(variance, abs=1e-6)


def test_accuracies_of_chosen_networks_are_placed_where_the_ranking_expects_them() -> None:
    """The five best have a mean far above the space's, and differ less."""
    best = np.argsort(-KNOWN.prior)[:5]
    chosen = expected_scores(ACCURACIES[best], KNOWN.prior[best])
    everyone = expected_scores(ACCURACIES, KNOWN.prior)
    assert chosen.mean() == pytest.approx(PRIOR_SLOPE * KNOWN.prior[best].mean())
    assert chosen.mean() > everyone.mean() + 1
    assert np.argsort(chosen).tolist() == np.argsort(ACCURACIES[best]).tolist()


def test_training_the_best_alone_does_not_turn_the_ranking_round() -> None:
    trained = np.argsort(-KNOWN.prior)[:20]
    mean, _ = Model(KNOWN).predict(trained, ACCURACIES[trained])
    rest = np.setdiff1d(np.arange(N), trained)
    assert tau(mean[rest], ACCURACIES[rest]) > 0.8 * tau(KNOWN.prior[rest], ACCURACIES[rest])


def test_the_kernel_is_fitted_again_when_a_third_more_are_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizers = []

    class Recorded(GaussianProcessRegressor):
        def fit(self, X, y):
            optimizers.append(self.optimizer)
            return super().fit(X, y)

    monkeypatch.setattr(train_next, "GaussianProcessRegressor", Recorded)
    model = Model(KNOWN)
    for count in (10, 11, 12, 13, 14):
        model.predict(np.arange(count), ACCURACIES[:count])
    assert [bool(one) for one in optimizers] == [True, False, False, True, False]


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_networks_are_refused(rows: int) -> None:
    with pytest.raises(PredictionError, match=f"at least two networks .* got {rows}"):
        candidates(FEATURES.iloc[:rows], pd.Series(PRIOR, INDEX).iloc[:rows])


def test_scores_that_are_the_same_for_all_tell_nothing() -> None:
    constant = FEATURES.assign(constant=3.0)
    assert candidates(constant, pd.Series(PRIOR, INDEX)).scores.shape == (N, 2)


# ---- which networks to train -------------------------------------------------------------------


def test_expected_improvement_is_the_mean_of_what_exceeds_the_best() -> None:
    draws = 0.3 + 0.5 * np.random.default_rng(1).normal(size=2_000_000)
    drawn = np.maximum(draws - 0.7, 0).mean()
    found = improvement(np.array([0.3]), np.array([0.5]), 0.7)
    assert found == pytest.approx(drawn, abs=4 * 0.5 / np.sqrt(2_000_000))
    assert improvement(np.array([1.0]), np.array([0.0]), 0.7) == pytest.approx(0.3)


def test_the_first_to_train_are_the_best_of_the_ranking() -> None:
    none = np.array([], np.intp)
    chosen = next_to_train(KNOWN, none, np.array([]), 3)
    assert chosen.tolist() == np.argsort(-PRIOR)[:3].tolist()


def test_what_is_trained_is_not_chosen_again_and_nothing_twice() -> None:
    trained = np.arange(10)
    chosen = next_to_train(KNOWN, trained, ACCURACIES[trained], 5)
    assert len(set(chosen) | set(trained)) == 15
    everything = next_to_train(KNOWN, np.arange(N - 2), ACCURACIES[: N - 2], 5)
    assert sorted(everything) == [N - 2, N - 1]


def test_the_first_of_many_is_the_one_that_would_be_chosen_alone() -> None:
    trained = np.arange(10)
    many = next_to_train(KNOWN, trained, ACCURACIES[trained], 4)
    (alone,) = next_to_train(KNOWN, trained, ACCURACIES[trained], 1)
    assert many[0] == alone


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_trains_each_network_once(strategy: str) -> None:
    order = STRATEGIES[strategy](KNOWN, ACCURACIES, 12, 3)
    assert len(set(order.tolist())) == len(order) == 12
    again = STRATEGIES[strategy](KNOWN, ACCURACIES, 12, 3)
    assert order.tolist() == again.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_does_not_see_the_accuracies_of_what_it_has_not_chosen(strategy: str) -> None:
    order = STRATEGIES[strategy](KNOWN, ACCURACIES, 12, 3)
    hidden = ACCURACIES.copy()
    hidden[np.setdiff1d(np.arange(N), order)] = -1e3
    assert STRATEGIES[strategy](KNOWN, hidden, 12, 3).tolist() == order.tolist()


# ---- the gain of trainings ---------------------------------------------------------------------


def test_regret_is_what_the_best_trained_network_lacks() -> None:
    (trial,) = simulate(KNOWN, ACCURACIES, strategy="random", budgets=[10], seed=4)
    share = np.random.default_rng(4).permutation(N)[: int(SHARE * N)]
    within = ACCURACIES[share]
    drawn = STRATEGIES["random"](KNOWN.take(share), within, 10, 4)
    assert trial.regret == within.max() - within[drawn].max() > 0


def test_the_rest_is_ranked_without_its_accuracies() -> None:
    share = np.random.default_rng(0).permutation(N)[: int(SHARE * N)]
    trained = STRATEGIES["random"](KNOWN.take(share), ACCURACIES[share], 20, 0)
    (trial,) = simulate(KNOWN, ACCURACIES, strategy="random", budgets=[20])
    hidden = ACCURACIES[share].copy()
    rest = np.setdiff1d(np.arange(len(share)), trained)
    mean, _ = Model(KNOWN.take(share)).predict(trained, hidden[trained])
    assert trial.kendall == tau(mean[rest], hidden[rest])
    assert trial.prior_kendall == tau(KNOWN.prior[share][rest], hidden[rest])


def test_expected_improvement_finds_better_networks_than_random_search() -> None:
    trials = [
        trial
        for strategy in ("random", "improve")
        for seed in range(3)
        for trial in simulate(KNOWN, ACCURACIES, strategy=strategy, budgets=[15], seed=seed)
    ]
    found = summary(trials).set_index("strategy")
    assert found.loc["improve", "regret"] < 0.5 * found.loc["random", "regret"]
    assert (found["trials"] == 3).all()


@pytest.mark.parametrize("budgets", [[], [1], [10, 63]])
def test_numbers_that_leave_nothing_to_judge_are_refused(budgets: list[int]) -> None:
    with pytest.raises(PredictionError, match="must lie in 2 to 62, got"):
        simulate(KNOWN, ACCURACIES, strategy="random", budgets=budgets)


def test_some_of_the_candidates_keep_their_scores_among_all() -> None:
    rows = np.array([3, 5])
    some = KNOWN.take(rows)
    assert isinstance(some, Candidates)
    assert some.prior.tolist() == KNOWN.prior[rows].tolist()
    assert len(some) == 2
