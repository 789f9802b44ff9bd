"""The incremental ranking against ranking everything anew with scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from vkdnw.search.evolution import log_rank_sums
from vkdnw.search.evolution.log_rank_sums import LogRanks, greatest


def sums_of_logs(rows):
    """The definition: NaN as -inf, average ranks, sums of logarithms."""
    values = np.where(np.isnan(rows), -np.inf, rows)
    return sum(np.log(rankdata(column)) for column in values.T)


def is_best(found, rows, count):
    """Whether these are `count` greatest sums; equal sums may stand for each other."""
    sums = sums_of_logs(np.array(rows))
    if len(rows) <= count:
        return list(found) == list(range(len(rows)))
    least = np.sort(sums)[-count]
    # Sums of equal ranks in another order of keys differ by a few roundings of logarithms.
    surely = set(np.flatnonzero(sums > least + 1e-9))
    return len(set(found)) == count and surely <= set(found) and min(sums[found]) >= least - 1e-9


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    keys=st.integers(1, 5),
    count=st.integers(1, 12),
    levels=st.sampled_from([2, 5, 1000]),
    drift=st.sampled_from([0.0, 0.1]),
    stride=st.integers(1, 7),
)
def test_the_best_are_those_of_ranking_everything(seed, keys, count, levels, drift, stride):
    random = np.random.default_rng(seed)
    ranks, rows = LogRanks(keys, count), []
    for step in range(120):
        row = random.integers(levels, size=keys) + drift * step
        row[random.random(keys) < 0.05] = np.nan
        rows.append(row)
        ranks.insert(row)
        if step % stride == 0:
            assert is_best(ranks.best(), rows, count)
    assert len(ranks) == 120


@pytest.mark.parametrize("drift", [0.0, 5.0])
def test_over_many_rankings_of_everything(drift):
    random = np.random.default_rng(0)
    ranks, rows = LogRanks(5, 50), []
    for step in range(2000):
        rows.append(random.normal(size=5) + drift * step / 2000)
        ranks.insert(rows[-1])
        best = ranks.best()
        if step % 97 == 0:
            assert is_best(best, rows, 50)


def test_only_a_few_are_kept_up_to_date():
    random = np.random.default_rng(0)
    ranks = LogRanks(5, 50)
    for _ in range(5_000):
        ranks.insert(random.normal(size=5))
        ranks.best()
    assert ranks._contending < 500


def test_a_short_history_is_all_best():
    ranks = LogRanks(2, 3)
    assert list(ranks.best()) == []
    ranks.insert([1.0, 2.0])
    assert list(ranks.best()) == [0]


def test_among_equals_the_older_are_best():
    ranks = LogRanks(1, 2)
    for value in (1.0, 0.0, 1.0, 1.0):
        ranks.insert([value])
    assert list(ranks.best()) == [0, 2]
    assert list(greatest(np.array([3.0, 1.0, 3.0, 2.0, 2.0]), 3)) == [0, 2, 3]


def test_undefined_values_are_the_worst():
    ranks = LogRanks(1, 2)
    for value in (np.nan, 0.0, -5.0, -np.inf):
        ranks.insert([value])
    assert list(ranks.best()) == [1, 2]


def test_the_bound_leaves_room_for_rounding():
    # A sum of five logarithms of numbers below 10^7 rounds by less than this.
    assert 5 * np.spacing(5 * np.log(1e7)) < log_rank_sums.SLACK
