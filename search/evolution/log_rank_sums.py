"""Which networks of a growing history have the greatest sums of logarithms of ranks.

The aggregate of AZ-NAS and VKDNW (Lee and Ham 2024, Section 3.3) is ``sum_k log(rank_k / n)``, the
ranks among all n networks scored so far, ties sharing the mean of their places. Every new network
changes the ranks of the others, so ranking anew at each step costs n^2 log n in all. Here a step
costs time in the number of networks that may be among the best, exactly:

* A rank never falls when networks are added, and rises by at most 1. So the sum of logarithms of
  ranks of a network, and with it the P-th greatest sum, never falls either; and a network whose
  ranks are r_k now has a sum of at most ``sum_k log(r_k + m)`` after m more.
* Hence those whose bound lies below the P-th greatest sum of now cannot be among the best P during
  the next m insertions, and neither can a new network of which the same holds. The others, the
  contenders, are kept up to date one insertion at a time; after m everything is ranked anew. With
  m a fixed share of n that happens O(log n) times.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

HORIZON_SHARE = 16
"""Everything is ranked anew when the history has grown by 1/16."""
LEAST_HORIZON = 32
SLACK = 1e-9
"""Above the rounding of a sum of a few logarithms, far below the effect of one rank among 10^7."""

Number = TypeVar("Number", np.intp, np.float64, np.int64)
Rows = NDArray[np.intp]
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Ranks = NDArray[np.int64]


class LogRanks:
    """A history of rows of values, higher is better, and its best rows.

    NaN counts as -inf. Rows are numbered from 0 in the order of insertion.
    """

    def __init__(self, keys: int, best: int) -> None:
        """For rows of `keys` values, and the `best` greatest of them at a time."""
        self._count = best
        self._rows = 0
        self._values = np.empty((keys, 64))  # [keys, capacity]; columns past _rows are unset
        self._best: Rows | None = None
        self._horizon = 0  # insertions that the contenders are good for; 0 before the first ranking
        self._ranked = 0  # rows that were ranked together
        self._sorted: list[list[float]] = []  # their values, each key's sorted
        self._threshold = -np.inf  # contenders have bounds that reach it
        # Contenders: `_contending` columns of arrays that are longer.
        self._contending = 0
        self._contenders: Rows = np.empty(0, np.intp)  # ascending; those since inserted at the end
        self._contents: Matrix = np.empty((keys, 0))  # their values
        self._doubled: Ranks = np.empty((keys, 0), np.int64)  # their ranks, doubled
        self._log_half: Vector = np.empty(0)  # log(j / 2) at j

    def __len__(self) -> int:
        return self._rows

    def insert(self, values: Sequence[float]) -> None:
        """Add a row."""
        row = [-math.inf if value != value else float(value) for value in values]
        if self._rows == self._values.shape[1]:
            self._values = _longer(self._values)
        self._values[:, self._rows] = row
        self._rows += 1
        if self._horizon:
            self._update_contenders(row)
        self._best = None

    def best(self) -> Rows:
        """The rows with the greatest sums, ascending; among equal sums the older rows.

        All rows where there are fewer than asked for.
        """
        if self._best is None:
            self._best = self._find_best()
        return self._best

    def _find_best(self) -> Rows:
        if self._rows <= self._count:
            return np.arange(self._rows)
        if not self._horizon or self._rows - self._ranked >= self._horizon:
            self._rank_everything()
        sums = self._log_half.take(self._doubled[:, : self._contending]).sum(0)
        return self._contenders[greatest(sums, self._count)]

    def _update_contenders(self, row: Sequence[float]) -> None:
        """The row has come in: others' ranks rise, and it may be a contender itself."""
        column = np.array(row)[:, None]
        known, doubled = self._contents[:, : self._contending], self._doubled[:, : self._contending]
        doubled += known > column
        doubled += known >= column
        below = [
            bisect_left(ordered, value) + bisect_right(ordered, value)
            for ordered, value in zip(self._sorted, row, strict=True)
        ]
        # Its ranks are at most those above all that were not ranked together.
        if sum(self._log_half.item(one + 2 * self._horizon) for one in below) >= self._threshold:
            self._add_contender(column, np.array(below))

    def _add_contender(self, column: Matrix, below: Ranks) -> None:
        """Add the newest row, which is above so many (doubled) of those ranked together."""
        count = self._contending
        if count == len(self._contenders):
            self._contenders, self._contents = _longer(self._contenders), _longer(self._contents)
            self._doubled = _longer(self._doubled)
        since = self._values[:, self._ranked : self._rows]
        self._doubled[:, count] = below + 1 + (since < column).sum(1) + (since <= column).sum(1)
        self._contents[:, count] = column[:, 0]
        self._contenders[count] = self._rows - 1
        self._contending = count + 1

    def _rank_everything(self) -> None:
        values = self._values[:, : self._rows]
        doubled, ordered = doubled_ranks(values)
        self._sorted = ordered.tolist()
        self._ranked = self._rows
        self._horizon = max(LEAST_HORIZON, self._rows // HORIZON_SHARE)
        with np.errstate(divide="ignore"):
            self._log_half = np.log(np.arange(2 * (self._rows + self._horizon) + 2) / 2)
        sums = self._log_half.take(doubled).sum(0)
        self._threshold = float(np.partition(sums, -self._count)[-self._count]) - SLACK
        bounds = self._log_half.take(doubled + 2 * self._horizon).sum(0)
        self._contenders = np.flatnonzero(bounds >= self._threshold)
        self._contending = len(self._contenders)
        self._contents = values[:, self._contenders]
        self._doubled = doubled[:, self._contenders]


def _longer(array: NDArray[Number]) -> NDArray[Number]:
    """With room for at least as many columns again; the contents of the new ones are undefined."""
    more = max(LEAST_HORIZON, array.shape[-1])
    return np.concatenate([array, np.empty((*array.shape[:-1], more), array.dtype)], axis=-1)


def doubled_ranks(values: Matrix) -> tuple[Ranks, Matrix]:
    """Twice the average rank of each value within its key, 1 the least, and the values of each key
    sorted: both [keys, rows]."""
    ranks = np.empty(values.shape, np.int64)
    ordered = np.empty_like(values)
    for key, row in enumerate(values):
        order = row.argsort()
        places = ordered[key] = row[order]
        begins = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
        ends = np.concatenate([begins[1:], [len(row)]])
        ranks[key, order] = np.repeat(begins + ends + 1, ends - begins)
    return ranks, ordered


def greatest(sums: Vector, count: int) -> Rows:
    """The places of the `count` greatest, ascending; among equals the first ones."""
    threshold = np.partition(sums, -count)[-count]
    found: Rows = (sums >= threshold).nonzero()[0]
    if len(found) == count:
        return found
    above = np.flatnonzero(sums > threshold)
    ties = np.flatnonzero(sums == threshold)[: count - len(above)]
    return np.sort(np.concatenate([above, ties]))
