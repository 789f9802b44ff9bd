"""Tasks carried out in the calling process, one at a time, when the caller waits."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.interface import (
    Lost,
    Outcome,
    R,
    T,
    at_once,
    carry_out_all,
    without_outcome,
)


class InProcess(Generic[T, R]):
    """The simplest executor: no isolation, nothing to start, easy to debug."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function
        self._queue: deque[T] = deque()
        self._alone: deque[T] = deque()  # tasks that were given together in vain

    @property
    def slots(self) -> int:
        return at_once(self._function)

    def submit(self, task: T) -> None:
        self._queue.append(task)

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        """Carry out the oldest task, or as many as the function takes together, however long it
        takes: `timeout` cannot interrupt it.

        Raises:
            ExecutorError: nothing can be computed in this process any more.
        """
        taken = self._alone or self._queue
        if not taken:
            return []
        count = 1 if self._alone else min(self.slots, len(taken))
        tasks = [taken.popleft() for _ in range(count)]
        outcomes = carry_out_all(self._function, tasks)
        for outcome in outcomes:
            if isinstance(outcome, Lost):
                raise ExecutorError(
                    f"{outcome.reason}; with one worker process or more, it would be replaced and "
                    "the run would go on"
                )
        self._alone += without_outcome(tasks, outcomes)
        return outcomes

    def cancel(self) -> Sequence[T]:
        dropped = [*self._alone, *self._queue]
        self.close()
        return dropped

    def close(self) -> None:
        self._alone.clear()
        self._queue.clear()
