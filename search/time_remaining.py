"""How long the rest of a run will take, from the times of its results.

Start-up does not count: time begins with the first task that came in. Tasks that compute other
values take other times: those of each kind are measured apart, and a kind that nothing has come in
of yet is estimated from the costs of its proxies.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping

from vkdnw.search.proxy_costs import relative_cost
from vkdnw.search.tasks import Failure, Scored, Task

Names = tuple[str, ...]
KEPT = 50
"""Times of each kind that the mean is taken of."""
WINDOW_SECONDS = 120.0
"""How many are computed at once is that of the recent past, as the machine's load changes."""


class Remaining:
    """The tasks that are left, by the values they compute."""

    def __init__(self, left: Mapping[Names, int]) -> None:
        self._left = Counter(left)
        self._times: dict[Names, deque[float]] = {}
        self._recent: deque[tuple[float, float]] = deque()  # when a task came in, how long it took
        self._begun = 0.0

    def observe(self, task: Task, result: Scored | Failure) -> None:
        """Take the result of a task."""
        if isinstance(result, Scored):
            self.took(task.names, result.seconds)
        else:
            self.failed(task.names)

    def took(self, names: Names, seconds: float) -> None:
        """A task that computes these values has come in, after so many seconds of a worker."""
        now = time.monotonic()
        if not self._times:
            self._begun = now - seconds
        self._left[names] -= 1
        self._times.setdefault(names, deque(maxlen=KEPT)).append(seconds)
        self._recent.append((now, seconds))
        while now - self._recent[0][0] > WINDOW_SECONDS:
            self._begun = max(self._begun, self._recent.popleft()[0])

    def failed(self, names: Names) -> None:
        """A task has failed; its time is not counted."""
        self._left[names] -= 1

    @property
    def known(self) -> bool:
        """Whether any result has come in."""
        return bool(self._recent) and self._elapsed > 0

    @property
    def rate(self) -> float:
        """Tasks per second, of the recent past."""
        return len(self._recent) / self._elapsed

    @property
    def seconds(self) -> float:
        """Until nothing is left. Needs at least one result."""
        work = sum(
            count * self._expected(names) for names, count in self._left.items() if count > 0
        )
        at_once = sum(seconds for _, seconds in self._recent) / self._elapsed
        return work / at_once if at_once > 0 else 0.0

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _expected(self, names: Names) -> float:
        """Seconds of a worker for a task of this kind."""
        if names in self._times:
            return _mean(self._times[names])
        measured = [(relative_cost(kind), _mean(times)) for kind, times in self._times.items()]
        costs = sum(cost for cost, _ in measured)
        total = sum(seconds for _, seconds in measured)
        return total * relative_cost(names) / costs if costs else total / len(measured)


def _mean(times: "deque[float]") -> float:
    return sum(times) / len(times)
