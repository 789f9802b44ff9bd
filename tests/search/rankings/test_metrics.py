"""Kendall, Spearman and nDCG against definitions written out, and their intervals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import ndcg_score

from vkdnw.search.rankings.metrics import (
    agreement,
    fill_undefined,
    kendall,
    ndcg,
    spearman,
    top_share,
)

TIED = st.lists(
    st.tuples(st.integers(0, 5).map(float), st.integers(0, 400).map(lambda x: x / 4)),
    min_size=2,
    max_size=30,
).map(lambda pairs: np.array(pairs).T)


def correlated(networks, seed=0):
    rng = np.random.default_rng(seed)
    accuracies = rng.uniform(10, 95, networks)
    return accuracies + rng.normal(0, 20, networks), accuracies


@given(TIED)
def test_kendall_is_tau_b(data):
    scores, accuracies = data
    pairs = list(itertools.combinations(range(len(scores)), 2))
    x = np.array([np.sign(scores[i] - scores[j]) for i, j in pairs])
    y = np.array([np.sign(accuracies[i] - accuracies[j]) for i, j in pairs])
    untied = np.count_nonzero(x) * np.count_nonzero(y)
    if untied == 0:
        assert math.isnan(kendall(scores, accuracies))
    else:
        assert kendall(scores, accuracies) == pytest.approx((x @ y) / math.sqrt(untied))


@given(TIED)
def test_spearman_is_the_correlation_of_average_ranks(data):
    def ranks(values):
        return [np.mean([(values < v).sum() + 1, (values <= v).sum()]) for v in values]

    scores, accuracies = data
    if len(set(scores)) == 1 or len(set(accuracies)) == 1:
        assert math.isnan(spearman(scores, accuracies))
    else:
        expected = np.corrcoef(ranks(scores), ranks(accuracies))[0, 1]
        assert spearman(scores, accuracies) == pytest.approx(expected)


def test_ndcg_by_hand():
    accuracies = np.array([1.0, 3.0, 2.0])  # gains 1, 7, 3
    scores = np.array([0.3, 0.2, 0.1])
    ideal = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(scores, accuracies) == pytest.approx((1 + 7 / math.log2(3) + 3 / 2) / ideal)
    ideal_of_two = 7 + 3 / math.log2(3)
    assert ndcg(scores, accuracies, top=2) == pytest.approx((1 + 7 / math.log2(3)) / ideal_of_two)


@pytest.mark.parametrize("top", [1, 10, 100, 5000])
def test_ndcg_without_ties_is_scikit_learns(top):
    scores, accuracies = correlated(100)
    gains = np.exp2(accuracies - 95) - 2.0**-95
    expected = ndcg_score([gains], [scores], k=top, ignore_ties=True)
    assert ndcg(scores, accuracies, top) == pytest.approx(expected, rel=1e-12)


def test_ndcg_breaks_ties_at_random_and_averages_five_orders():
    scores, accuracies = correlated(400)
    scores = np.round(scores, -1)
    gains = np.exp2(accuracies - 95) - 2.0**-95
    # scikit-learn's treatment of ties is the expectation over their orders.
    expected = ndcg_score([gains], [scores], k=50)
    draws = np.array([ndcg(scores, accuracies, 50, seed) for seed in range(400)])
    assert draws.std() > 0
    assert abs(draws.mean() - expected) < 4 * draws.std() / math.sqrt(400)
    assert ndcg(scores, accuracies, 50, seed=7) == draws[7]
    # The spread of means of five is that of single orders over the square root of five.
    rng = np.random.default_rng(0)
    single = [ndcg(scores + rng.uniform(0, 1, 400), accuracies, 50) for _ in range(400)]
    assert draws.std() == pytest.approx(np.std(single) / math.sqrt(5), rel=0.2)


def test_a_perfect_ranking_has_one_and_the_reverse_minus_one():
    accuracies = np.arange(20.0, 80.0)
    assert kendall(accuracies, accuracies) == pytest.approx(1)
    assert spearman(-accuracies, accuracies) == pytest.approx(-1)
    assert ndcg(accuracies**3, accuracies) == pytest.approx(1)


def test_ndcg_is_undefined_where_all_accuracies_are_zero():
    assert math.isnan(ndcg(np.arange(3.0), np.zeros(3)))


@pytest.mark.parametrize("numbers", [[-2.0, -1.0, -3.0], [0.1, 0.5, 0.9], [100.0, 3000.0, 7.0]])
def test_ndcg_is_undefined_for_what_is_no_accuracy_in_percent(numbers):
    assert math.isnan(ndcg(np.arange(3.0), np.array(numbers)))


def test_the_top_share_counts_the_best_that_are_found():
    accuracies = np.arange(300.0)
    scores = accuracies.copy()
    assert top_share(scores, accuracies) == 1
    scores[299] = -1  # one of the three best is missed
    assert top_share(scores, accuracies) == pytest.approx(2 / 3)
    assert top_share(-accuracies, accuracies) == 0
    assert top_share(scores, accuracies, share=0.5) == pytest.approx(149 / 150)
    assert top_share(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 1  # at least one


def test_the_top_share_draws_among_equal_scores():
    shares = [top_share(np.ones(100), np.arange(100.0), share=0.2, seed=s) for s in range(300)]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.02)


def test_partial_correlations_hold_the_third_variable_fixed():
    rng = np.random.default_rng(0)
    size = rng.normal(size=2000)
    scores, accuracies = size + rng.normal(size=2000), size + rng.normal(size=2000)
    found = agreement(scores, accuracies, given=size, resamples=0)
    assert found.spearman.value > 0.4
    assert abs(found.partial_spearman.value) < 0.06
    # Spearman's is the correlation of the residuals of linear regressions on the third's ranks.
    ranks = [stats.rankdata(one) for one in (scores, accuracies, size)]
    residues = [one - np.polyval(np.polyfit(ranks[2], one, 1), ranks[2]) for one in ranks[:2]]
    assert found.partial_spearman.value == pytest.approx(np.corrcoef(*residues)[0, 1])
    both, left, right = (kendall(*p) for p in itertools.combinations((scores, accuracies, size), 2))
    expected = (both - left * right) / math.sqrt((1 - left**2) * (1 - right**2))
    assert found.partial_kendall.value == pytest.approx(expected)


def test_nothing_is_left_of_a_ranking_by_the_variable_itself():
    scores, accuracies = correlated(50)
    found = agreement(scores, accuracies, given=scores, resamples=10)
    assert math.isnan(found.partial_kendall.value)
    assert math.isnan(agreement(scores, accuracies, resamples=0).partial_kendall.value)


# Scores that are not finite


def test_undefined_scores_go_to_the_ends():
    filled = fill_undefined(np.array([2.0, np.nan, -np.inf, 5.0, np.inf, 3.0]))
    assert filled.tolist() == [2.0, 2.0, 2.0, 5.0, 5.0, 3.0]


def test_finite_scores_stay_as_they_are():
    scores = np.array([-1e300, 0.0, 1e300])
    assert fill_undefined(scores).tolist() == scores.tolist()


def test_scores_none_of_which_is_finite_are_one_tie():
    assert fill_undefined(np.array([np.nan, np.inf, -np.inf])).tolist() == [0.0, 0.0, 0.0]


# Intervals


def test_the_values_are_those_of_the_metrics():
    scores, accuracies = correlated(200)
    found = agreement(np.round(scores, -1), accuracies, top=50, resamples=0, seed=3)
    assert found.kendall.value == kendall(np.round(scores, -1), accuracies)
    assert found.spearman.value == spearman(np.round(scores, -1), accuracies)
    assert found.ndcg.value == ndcg(np.round(scores, -1), accuracies, top=50, seed=3)


def test_no_resamples_leave_the_intervals_open():
    found = agreement(*correlated(50), resamples=0)
    for estimate in (found.kendall, found.spearman, found.ndcg):
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)


def test_intervals_are_percentiles_over_resampled_networks():
    scores, accuracies = correlated(80)
    found = agreement(scores, accuracies, top=20, resamples=200, seed=1, confidence=0.9)
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(200):
        i = generator.integers(0, 80, 80)
        gains = np.exp2(accuracies[i] - 95)
        drawn.append(
            (
                kendall(scores[i], accuracies[i]),
                spearman(scores[i], accuracies[i]),
                ndcg_score([gains], [scores[i]], k=20, ignore_ties=True),
            )
        )
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    estimates = (found.kendall, found.spearman, found.ndcg)
    assert [e.low for e in estimates] == pytest.approx(low)
    assert [e.high for e in estimates] == pytest.approx(high)


def test_resamples_without_a_value_do_not_count():
    # Two networks: every other resample holds one of them twice, where tau is undefined.
    found = agreement(np.array([1.0, 2.0]), np.array([10.0, 20.0]), resamples=50)
    assert (found.kendall.low, found.kendall.high) == (1.0, 1.0)
    alike = agreement(np.ones(4), np.array([10.0, 20.0, 30.0, 40.0]), resamples=20)
    assert math.isnan(alike.kendall.value)
    assert math.isnan(alike.kendall.high)


def test_accuracies_that_are_all_equal_agree_with_no_ranking() -> None:
    scores, equal = np.array([3.0, 1.0, 2.0]), np.full(3, 90.0)
    assert np.isnan(kendall(scores, equal))
    assert np.isnan(ndcg(scores, equal, 3))
