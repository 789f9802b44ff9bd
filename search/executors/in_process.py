"""Tasks carried out in the calling process, one at a time, when the caller waits."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.interface import Lost, Outcome, R, T, carry_out


class InProcess(Generic[T, R]):
    """The simplest executor: no isolation, nothing to start, easy to debug."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function
        self._queue: deque[T] = deque()

    @property
    def slots(self) -> int:
        return 1

    def submit(self, task: T) -> None:
        self._queue.append(task)

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        """Carry out the oldest task, however long it takes: `timeout` cannot interrupt it.

        Raises:
            ExecutorError: nothing can be computed in this process any more.
        """
        if not self._queue:
            return []
        outcome = carry_out(self._function, self._queue.popleft())
        if isinstance(outcome, Lost):
            raise ExecutorError(
                f"{outcome.reason}; with one worker process or more, it would be replaced and the "
                "run would go on"
            )
        return [outcome]

    def cancel(self) -> Sequence[T]:
        dropped = list(self._queue)
        self._queue.clear()
        return dropped

    def close(self) -> None:
        self._queue.clear()
