"""Non-dominated sorting for two objectives, both to be as high as possible.

With two objectives a front is a running maximum over a sorted list, so this needs no library;
pymoo, which sorts for any number of them, would bring a plotting library, an automatic
differentiator and an evolution strategy along.
"""

import numpy as np
from numpy.typing import NDArray

from vkdnw.search.evolution.log_rank_sums import Rows, Vector


def front(first: Vector, second: Vector) -> Rows:
    """The places that no other one betters: at least as good in both and better in one.

    Ordered from the best in `second` to the best in `first`. Of equal pairs only the first place is
    in a front. Places with a value of -inf or NaN in either are in none.
    """
    places = _sorted(first, second)
    return places[_steps(first[places])]


def best_fronts(first: Vector, second: Vector, count: int) -> Rows:
    """`count` places front by front, ascending; of the last front, which does not fit, a spread.

    Fewer where there are fewer with defined values.
    """
    left = _sorted(first, second)
    chosen: list[Rows] = []
    room = count
    while room and len(left):
        steps = _steps(first[left])
        members = left[steps]
        if len(members) > room:
            members = members[np.linspace(0, len(members) - 1, room).round().astype(np.intp)]
        chosen.append(members)
        room -= len(members)
        left = left[~steps]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.intp)


def _sorted(first: Vector, second: Vector) -> Rows:
    """The defined places, from the best in `second`, then in `first`, then the oldest."""
    places = np.flatnonzero((first > -np.inf) & (second > -np.inf))
    return places[np.lexsort((-first[places], -second[places]))]  # stable: the oldest first


def _steps(first: Vector) -> NDArray[np.bool_]:
    """Where a sorted list reaches a value higher than all before it."""
    before = np.concatenate([[-np.inf], np.maximum.accumulate(first)[:-1]])
    return first > before
