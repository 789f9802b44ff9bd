"""Which networks of a growing history have the greatest sums of logarithms of ranks.

The aggregate of AZ-NAS and VKDNW (Lee and Ham 2024, Section 3.3) is ``sum_k log(rank_k / n)``, the
ranks among all n networks scored so far, ties sharing the mean of their places. Every new network
changes the ranks of the others, so ranking anew at each step costs n^2 log n in all. Here a step
costs time in the number of networks that may be among the best, exactly:

* A rank never falls when networks are added, and rises by at most 1. So the sum of logarithms of
  ranks of a network, and with it the P-th greatest sum, never falls either; and a network whose
  ranks are r_k now has a sum of at most ``sum_k log(r_k + m)`` after m more.
* Hence those whose bound lies below the P-th greatest sum of now cannot be among the best P during
  the next m insertions. The others, the contenders, are kept up to date one insertion at a time;
  after m insertions everything is ranked anew. With m a fixed share of n that happens O(log n)
  times.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HORIZON_SHARE = 50
"""Everything is ranked anew when the history has grown by 1/50."""
LEAST_HORIZON = 32
SLACK = 1e-9
"""Above the rounding of a sum of a few logarithms, far below the effect of one rank among 10^7."""

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
        self._sorted: Matrix = np.empty((keys, 0))  # their values, each key's sorted
        self._contenders: Rows = np.empty(0, np.intp)  # ascending; those since inserted at the end
        self._contending: Matrix = np.empty((keys, 0))  # their values
        self._doubled: Ranks = np.empty((keys, 0), np.int64)  # their ranks, doubled
        self._log_half: Vector = np.empty(0)  # log(j / 2) at j

    def __len__(self) -> int:
        return self._rows

    def insert(self, values: Sequence[float]) -> None:
        """Add a row."""
        row = np.array(values, np.float64)
        row[np.isnan(row)] = -np.inf
        if self._rows == self._values.shape[1]:
            self._values = np.concatenate([self._values, np.empty_like(self._values)], axis=1)
        self._values[:, self._rows] = row
        if self._horizon:
            self._insert_contender(row[:, None])
        self._rows += 1
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
        sums = self._log_half[self._doubled].sum(0)
        return self._contenders[greatest(sums, self._count)]

    def _insert_contender(self, column: Matrix) -> None:
        self._doubled += self._contending > column
        self._doubled += self._contending >= column
        since = self._contending[:, self._contending.shape[1] - (self._rows - self._ranked) :]
        below = [
            np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right")
            for ordered, value in zip(self._sorted, column[:, 0], strict=True)
        ]
        doubled = below + (since < column).sum(1) + (since <= column).sum(1) + 2
        self._doubled = np.column_stack([self._doubled, doubled])
        self._contending = np.column_stack([self._contending, column])
        self._contenders = np.append(self._contenders, self._rows)

    def _rank_everything(self) -> None:
        values = self._values[:, : self._rows]
        self._sorted = np.sort(values, axis=1)
        self._ranked = self._rows
        self._horizon = max(LEAST_HORIZON, self._rows // HORIZON_SHARE)
        with np.errstate(divide="ignore"):
            self._log_half = np.log(np.arange(2 * (self._rows + self._horizon) + 2) / 2)
        doubled = doubled_ranks(values, self._sorted)
        threshold = np.partition(self._log_half[doubled].sum(0), -self._count)[-self._count]
        bounds = self._log_half[doubled + 2 * self._horizon].sum(0)
        self._contenders = np.flatnonzero(bounds >= threshold - SLACK)
        self._contending = values[:, self._contenders]
        self._doubled = doubled[:, self._contenders]


def doubled_ranks(values: Matrix, ordered: Matrix) -> Ranks:
    """Twice the average rank of each value within its key, 1 the least: [keys, rows].

    ``ordered`` are the values of each key, sorted.
    """
    return np.stack(
        [
            np.searchsorted(column, row, "left") + np.searchsorted(column, row, "right") + 1
            for row, column in zip(values, ordered, strict=True)
        ]
    )


def greatest(sums: Vector, count: int) -> Rows:
    """The places of the `count` greatest, ascending; among equals the first ones."""
    threshold = np.partition(sums, -count)[-count]
    above = np.flatnonzero(sums > threshold)
    ties = np.flatnonzero(sums == threshold)[: count - len(above)]
    return np.sort(np.concatenate([above, ties]))
