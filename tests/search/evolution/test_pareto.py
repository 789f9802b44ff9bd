"""Fronts of two objectives against the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkdnw.search.evolution.pareto import best_fronts, front


def dominated(a, b, i):
    return any(
        a[j] >= a[i] and b[j] >= b[i] and (a[j] > a[i] or b[j] > b[i]) for j in range(len(a))
    )


points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30)


@given(points)
def test_a_front_is_what_nothing_betters(pairs):
    first, second = np.array(pairs, float).T
    ours = front(first, second)
    expected = {pairs[i] for i in range(len(pairs)) if not dominated(first, second, i)}
    assert {pairs[i] for i in ours} == expected
    assert len(ours) == len(expected)  # equal points once
    assert all(pairs.index(pairs[i]) == i for i in ours)  # by the oldest
    assert list(second[ours]) == sorted(second[ours], reverse=True)


@given(points, st.integers(1, 40))
def test_fronts_are_taken_one_after_the_other(pairs, count):
    first, second = np.array(pairs, float).T
    left, expected = list(range(len(pairs))), []
    while left and len(expected) < count:
        members = [left[i] for i in front(first[left], second[left])]
        if len(expected) + len(members) > count:
            break
        expected += members
        left = [i for i in left if i not in members]
    ours = list(best_fronts(first, second, count))
    assert set(expected) <= set(ours)
    assert len(ours) == len(set(ours)) == min(count, len(pairs))
    assert ours == sorted(ours)


def test_a_front_that_does_not_fit_is_spread():
    first = np.arange(9.0)
    assert list(best_fronts(first, -first, 3)) == [0, 4, 8]


@pytest.mark.parametrize("undefined", [np.nan, -np.inf])
def test_undefined_points_are_in_no_front(undefined):
    first, second = np.array([1.0, undefined, 0.0]), np.array([0.0, 5.0, 1.0])
    assert list(front(first, second)) == [2, 0]
    assert list(best_fronts(first, second, 3)) == [0, 2]
    assert list(best_fronts(np.array([undefined]), np.array([1.0]), 3)) == []
