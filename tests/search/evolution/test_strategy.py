"""Who becomes a parent."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest

from vkdnw.search.evolution.strategy import Ageing, Pareto, RandomSearch, SteadyState


def show(strategy, rows, start=0):
    for child, row in enumerate(rows, start):
        strategy.show(child, row)
    return strategy


def parents(strategy, draws=600):
    random = Random(0)
    return Counter(strategy.parent(random) for _ in range(draws))


RISING = [[float(i)] for i in range(200)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (0, {None}),
        (10, {None}),
        (11, set(range(11))),
        (18, set(range(18))),  # P - 2: still the whole history
        (19, set(range(19))),  # P - 1: all are among the best P - 1
        (20, set(range(1, 20))),
        (120, set(range(101, 120))),
    ],
)
def test_the_papers_phases(shown, expected):
    found = parents(show(SteadyState(keys=1, population=20), RISING[:shown]))
    assert found.keys() == expected
    assert max(found.values()) - min(found.values()) < 40 or len(expected) == 1  # uniform


def test_children_that_are_not_shown_are_no_parents():
    strategy = SteadyState(keys=1, population=3)
    for child in range(0, 40, 2):
        strategy.show(child, [float(child)])
    assert parents(strategy).keys() == {36, 38}


def test_ageing_forgets_the_old_however_good():
    strategy = Ageing(keys=1, population=5, tournament=5)
    assert parents(show(strategy, [[9.0], [1.0], [2.0], [3.0]])).keys() == {None}
    assert parents(show(strategy, [[1.5]], start=4)).keys() == {0}
    assert parents(show(strategy, [[0.0]], start=5)).keys() == {3}


def test_a_tournament_is_won_by_the_best_of_those_drawn():
    strategy = show(Ageing(keys=1, population=10, tournament=2), [[float(i)] for i in range(10)])
    found = parents(strategy, 4500)
    # Of 45 pairs, child i wins the i in which the other is worse.
    assert found[0] == 0
    for child in range(1, 10):
        assert found[child] == pytest.approx(100 * child, abs=5 * math.sqrt(100 * child))


def test_ageing_ranks_within_the_population_by_logarithms_of_ranks():
    # Ranks (1, 4, 3), (3, 3, 1), (4, 1, 2), (2, 2, 4): products 12, 9, 8, 16.
    rows = [[0.0, 9.0, 8.0], [2.0, 5.0, np.nan], [3.0, 1.0, 2.0], [1.0, 2.0, 9.0]]
    assert parents(show(Ageing(keys=3, population=4, tournament=4), rows)).keys() == {3}


def test_pareto_breeds_from_the_fronts():
    # Two keys are summed, the third is a cost's benefit.
    rows = [[float(i), float(i), -float(i)] for i in range(20)]
    rows += [[-1.0, -1.0, -30.0]] * 20  # bettered by all others
    strategy = show(Pareto(population=21), rows)
    assert parents(strategy).keys() == set(range(20))


def test_pareto_begins_as_the_papers_evolution_does():
    strategy = show(Pareto(population=30), [[0.0, 0.0]] * 10)
    assert parents(strategy).keys() == {None}
    assert parents(show(strategy, [[0.0, 0.0]] * 3, start=10)).keys() == set(range(13))


def test_random_search_has_no_parents():
    assert parents(show(RandomSearch(), RISING)).keys() == {None}
