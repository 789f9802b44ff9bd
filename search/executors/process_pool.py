"""Tasks carried out by processes of this machine.

Why not a pool that exists: `concurrent.futures` breaks as a whole when one worker is killed, and
so does loky (every future pending then fails with TerminatedWorkerError, and which task the dead
worker held is not told). Here a lost worker costs its own task only, is noticed at once (its
socket closes), and is replaced.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import connection as connections
from multiprocessing.reduction import ForkingPickler
from typing import Generic

from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.child import Child
from vkdnw.search.executors.interface import Lost, Outcome, R, T
from vkdnw.search.executors.worker import CannotStart, Ready

START_ATTEMPTS = 10
"""Workers that die in a row before they are ready, after which starting more is pointless."""


class ProcessPool(Generic[T, R]):
    """One worker process for each function given.

    Pass the same function `n` times for `n` equal workers, or functions bound to different
    devices for one worker per device. Each function is pickled, and unpickled once in its worker:
    whatever its module imports is loaded there before the first task.

    Raises:
        ExecutorError: from `wait`, when workers cannot be started.
    """

    def __init__(self, functions: Sequence[Callable[[T], R]]) -> None:
        if not functions:
            raise ValueError("functions is empty: a pool needs at least one worker")
        self._pickled = [bytes(ForkingPickler.dumps(function)) for function in functions]
        self._queue: deque[T] = deque()
        self._deaths_at_start = 0
        self._broken: ExecutorError | None = None  # raised once what came in has been handed over
        # Workers hold the read end and leave when the write end, held here alone, closes.
        self._lifeline, self._held_open = os.pipe()
        self._children: list[Child[T]] = []
        for pickled in self._pickled:
            self._children.append(Child(pickled, self._lifeline))

    @property
    def slots(self) -> int:
        return len(self._children)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id of each worker, in the order of the functions."""
        return tuple(child.pid for child in self._children)

    def submit(self, task: T) -> None:
        self._queue.append(task)
        self._dispatch()

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        if not self._queue and all(child.task is None for child in self._children):
            return []
        if self._broken is not None:
            raise self._broken
        speaking = connections.wait([child.connection for child in self._children], timeout)
        outcomes: list[Outcome[T, R]] = []
        for place, child in enumerate(self._children):
            if child.connection in speaking:
                outcomes += self._listen(place, child)
        self._dispatch()
        return outcomes

    def cancel(self) -> Sequence[T]:
        dropped = list(self._queue)
        self._queue.clear()
        return dropped

    def close(self) -> None:
        self._queue.clear()
        for child in self._children:
            child.kill()
        self._children = []
        if self._held_open >= 0:
            os.close(self._held_open)
            os.close(self._lifeline)
            self._held_open = self._lifeline = -1

    def _dispatch(self) -> None:
        """Give queued tasks to idle workers."""
        for place, child in enumerate(self._children):
            if not self._queue:
                return
            if not child.idle:
                continue
            if child.give(self._queue[0]):
                self._queue.popleft()
            else:
                self._replace(place)  # it died idle: the task never left

    def _listen(self, place: int, child: Child[T]) -> list[Outcome[T, R]]:
        """Take one message from a worker, or the news of its death."""
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            return self._bury(place, child)
        if isinstance(message, Ready):
            child.ready = True
            self._deaths_at_start = 0
            return []
        if isinstance(message, CannotStart):
            self._broken = ExecutorError(f"a worker cannot start: {message.reason}")
            return []
        child.task = None
        return [message]

    def _bury(self, place: int, child: Child[T]) -> list[Outcome[T, R]]:
        how = child.how_it_ended()
        if not child.ready:
            self._deaths_at_start += 1
            if self._deaths_at_start >= START_ATTEMPTS:
                self._broken = ExecutorError(
                    f"workers die before they are ready, {START_ATTEMPTS} in a row; "
                    f"the last one (pid {child.pid}): {how}"
                )
        self._replace(place)
        if child.task is None:
            return []
        return [Lost(child.task, f"worker {child.pid} was lost: {how}")]

    def _replace(self, place: int) -> None:
        self._children[place].kill()
        self._children[place] = Child(self._pickled[place], self._lifeline)
