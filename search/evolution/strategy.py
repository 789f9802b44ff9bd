"""How a search chooses the parent of its next child.

A strategy is shown children one after the other, in the order of their numbers, each with a row of
values; children that failed, or were measured to be over the budget, are not shown. Its answer
depends on the children it was shown and on the generator, on nothing else.
"""

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Protocol

import numpy as np

from vkdnw.search.evolution.log_rank_sums import LogRanks, Matrix, Vector, doubled_ranks
from vkdnw.search.evolution.pareto import best_fronts

FOUNDERS = 10
"""Children that have no parent, before evolution begins (the authors' search)."""
RERANK_SHARE = 64
"""The Pareto front is found anew when the history has grown by 1/64."""


class Strategy(Protocol):
    """Chooses parents."""

    def show(self, child: int, row: Sequence[float]) -> None:
        """Child number `child` has these values: the ranked ones, higher is better, in order."""

    def parent(self, random: Random) -> int | None:
        """The number of a child to mutate, or None for a founder, which has no parent."""


class SteadyState:
    """The paper's evolution: a parent is one of the best of the whole history, all being equal.

    With n networks shown and a population of P: founders while n <= 10; a parent from the whole
    history while n < P - 1; then one of the P - 1 best by the sum of logarithms of ranks.
    """

    def __init__(self, keys: int, population: int) -> None:
        self._ranks = LogRanks(keys, best=population - 1)
        self._population = population
        self._children: list[int] = []

    def show(self, child: int, row: Sequence[float]) -> None:
        self._ranks.insert(row)
        self._children.append(child)

    def parent(self, random: Random) -> int | None:
        shown = len(self._children)
        if shown <= FOUNDERS:
            return None
        if shown < self._population - 1:
            return random.choice(self._children)
        best = self._ranks.best()
        return self._children[int(best[random.randrange(len(best))])]


class Ageing:
    """Ageing evolution (Real et al. 2019): the population is the last P children.

    A parent is the best of a few drawn from it, by the sum of logarithms of ranks within the
    population; the oldest leaves, whatever its values. The first P children are founders.
    """

    def __init__(self, keys: int, population: int, tournament: int) -> None:
        self._size = population
        self._tournament = min(tournament, population)
        self._children: deque[int] = deque(maxlen=population)
        self._values: Matrix = np.empty((keys, 0))  # of the population: [keys, P]

    def show(self, child: int, row: Sequence[float]) -> None:
        self._children.append(child)
        new = _without_nan(np.array(row, np.float64)[:, None])
        self._values = np.concatenate([self._values[:, 1 - self._size :], new], axis=1)

    def parent(self, random: Random) -> int | None:
        if len(self._children) < self._size:
            return None
        drawn = sorted(random.sample(range(self._size), self._tournament))
        values, population = self._values[:, drawn, None], self._values[:, None]
        ranks = 1 + (population < values).sum(2) + (population <= values).sum(2)  # doubled
        return self._children[drawn[int(np.log(ranks).sum(0).argmax())]]


class Pareto:
    """Two objectives: the sum of logarithms of ranks, and a cost, the last value of a row.

    As in NSGA-II (Deb et al. 2002), parents come from the best P - 1 children by fronts: the
    children that no other dominates, then those dominated by these only, and so on. The cost is
    negative in the rows (higher is better) and is not part of the sum.
    """

    def __init__(self, population: int) -> None:
        self._population = population
        self._children: list[int] = []
        self._rows: list[Sequence[float]] = []
        self._best: list[int] = []
        self._ranked = 0

    def show(self, child: int, row: Sequence[float]) -> None:
        self._children.append(child)
        self._rows.append(row)

    def parent(self, random: Random) -> int | None:
        shown = len(self._children)
        if shown <= FOUNDERS:
            return None
        if shown < self._population - 1:
            return random.choice(self._children)
        if shown - self._ranked > self._ranked // RERANK_SHARE:
            self._rank()
        return self._children[random.choice(self._best)]

    def _rank(self) -> None:
        values = _without_nan(np.array(self._rows).T)
        ranks, _ = doubled_ranks(values[:-1])
        sums: Vector = np.log(ranks).sum(0)
        self._best = best_fronts(sums, values[-1], self._population - 1).tolist()
        self._ranked = len(self._rows)


class RandomSearch:
    """No parents: every child is drawn from the space on its own."""

    def show(self, child: int, row: Sequence[float]) -> None:
        """Results change nothing."""

    def parent(self, random: Random) -> int | None:
        return None


def _without_nan(values: Matrix) -> Matrix:
    return np.where(np.isnan(values), -np.inf, values)
