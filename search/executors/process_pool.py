"""Tasks carried out by processes of this machine.

Why not an existing pool: `concurrent.futures` breaks as a whole when one worker is killed, and
so does loky (every future pending then fails with TerminatedWorkerError, and which task the dead
worker held is not told). Here a lost worker costs its own task only, is noticed at once (its
socket closes), and is replaced.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from multiprocessing import connection as connections
from multiprocessing.reduction import ForkingPickler
from typing import Generic

from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.child import Child
from vkdnw.search.executors.interface import (
    Blame,
    Failed,
    Lost,
    Outcome,
    R,
    T,
    at_once,
    without_outcome,
)
from vkdnw.search.executors.worker import CannotStart, Ready
from vkdnw.search.executors.worker_restarts import Restarts

STOPPED_SECONDS = 60.0
"""How long a worker may be stopped (SIGSTOP) before it is taken for lost."""
LOOK_SECONDS = 0.5
"""How often workers are looked at that say nothing."""


class ProcessPool(Generic[T, R]):
    """One worker process for each function given.

    Pass the same function `n` times for `n` equal workers, or functions bound to different
    devices for one worker per device. Each function is pickled, and unpickled once in its worker:
    whatever its module imports is loaded there before the first task. A function that takes several
    tasks together (`TakesSeveral`) is given as many as it takes, or its share of those that wait.
    Tasks that were given together and have no result, because their worker died or took too long,
    are given again one by one: what is told of a task is what it does alone.

    Args:
        functions: of tasks, one for each worker.
        task_timeout: seconds that a task may take before its worker is ended and it fails; None
            for as long as it wants.
        stopped_timeout: seconds that a worker may be stopped (by SIGSTOP, say) before it is lost.
        note: receives messages about workers that cannot be started for a while.

    Raises:
        ExecutorError: from `wait`, when no worker can be started.
    """

    def __init__(
        self,
        functions: Sequence[Callable[[T], R]],
        *,
        task_timeout: float | None = None,
        stopped_timeout: float = STOPPED_SECONDS,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        if not functions:
            raise ValueError("functions is empty: a pool needs at least one worker")
        self._pickled = [bytes(ForkingPickler.dumps(function)) for function in functions]
        self._at_once = [at_once(function) for function in functions]
        self._queue: deque[T] = deque()
        self._alone: deque[T] = deque()  # tasks that were given together in vain
        self._task_timeout, self._stopped_timeout = task_timeout, stopped_timeout
        self._looked_at = time.monotonic()
        self._restarts = Restarts(len(functions), note)
        self._broken: ExecutorError | None = None  # raised when all outcomes have been returned
        # Workers hold the read end and leave when the write end, held here alone, closes.
        self._lifeline, self._held_open = os.pipe()
        self._children: list[Child[T] | None] = [None] * len(functions)
        for place in range(len(functions)):
            self._start(place)

    @property
    def slots(self) -> int:
        return sum(self._at_once[: len(self._children)])

    @property
    def pids(self) -> tuple[int, ...]:
        """The process id of each worker that is there, in the order of the functions."""
        return tuple(child.pid for _, child in self._present)

    @property
    def _present(self) -> list[tuple[int, Child[T]]]:
        return [(place, child) for place, child in enumerate(self._children) if child is not None]

    def submit(self, task: T) -> None:
        self._queue.append(task)
        self._dispatch()

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        waiting = self._queue or self._alone
        if not waiting and not any(child.tasks for _, child in self._present):
            return []
        if self._broken is not None:
            raise self._broken
        for place in self._restarts.due():
            self._start(place)
        present = self._present
        if not present:
            time.sleep(timeout)
            return []
        speaking = connections.wait([child.connection for _, child in present], timeout)
        outcomes: list[Outcome[T, R]] = []
        for place, child in present:
            if child.connection in speaking:
                outcomes += self._listen(place, child)
        outcomes += self._look()
        self._dispatch()
        return outcomes

    def cancel(self) -> Sequence[T]:
        dropped = [*self._alone, *self._queue]
        self._alone.clear()
        self._queue.clear()
        return dropped

    def close(self) -> None:
        self._alone.clear()
        self._queue.clear()
        for _, child in self._present:
            child.kill()
        self._children = []
        if self._held_open >= 0:
            os.close(self._held_open)
            os.close(self._lifeline)
            self._held_open = self._lifeline = -1

    def _dispatch(self) -> None:
        """Give queued tasks to idle workers."""
        idle = [(place, child) for place, child in self._present if child.idle]
        for number, (place, child) in enumerate(idle):
            taken = self._alone or self._queue
            if not taken:
                return
            share = -(-len(taken) // (len(idle) - number))
            count = 1 if self._alone else min(self._at_once[place], share)
            if child.give(tuple(islice(taken, count))):
                for _ in range(count):
                    taken.popleft()
            else:
                self._replace(place, child)  # it died idle: the tasks never left

    def _listen(self, place: int, child: Child[T]) -> list[Outcome[T, R]]:
        """Take one message from a worker, or notice its death."""
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            return self._bury(place, child)
        if isinstance(message, Ready):
            child.ready = True
            self._restarts.ready(place)
            return []
        if isinstance(message, CannotStart):
            self._broken = ExecutorError(f"a worker cannot start: {message.reason}")
            return []
        self._alone += without_outcome(child.tasks, message.outcomes)
        child.tasks = ()
        if message.ends:  # it must not be given another task
            self._replace(place, child)
        return list(message.outcomes)

    def _look(self) -> list[Outcome[T, R]]:
        """End workers that take too long over a task, or were stopped and not continued."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return []
        self._looked_at = now
        outcomes: list[Outcome[T, R]] = []
        for place, child in self._present:
            limit = self._task_timeout
            if child.tasks and limit is not None and child.seconds > limit:
                reason = f"it took more than {limit:g} s (the task timeout); its worker was ended"
                outcomes += self._ended(child, partial(Failed, reason=reason, details=""))
                self._replace(place, child)
            elif child.stopped_for() > self._stopped_timeout:
                how = f"it was stopped and not continued within {self._stopped_timeout:g} s"
                outcomes += self._lost(child, how, "system")
                self._replace(place, child)
        return outcomes

    def _lost(self, child: Child[T], how: str, blame: Blame) -> list[Outcome[T, R]]:
        reason = f"worker {child.pid} was lost: {how}"
        return self._ended(child, partial(Lost, reason=reason, blame=blame))

    def _ended(self, child: Child[T], outcome: Callable[[T], Outcome[T, R]]) -> list[Outcome[T, R]]:
        """The outcome of a task that a worker ends with; several are carried out again, alone."""
        if len(child.tasks) > 1:
            self._alone += child.tasks
            return []
        return [outcome(task) for task in child.tasks]

    def _bury(self, place: int, child: Child[T]) -> list[Outcome[T, R]]:
        how, blame = child.how_it_ended()
        if child.ready:
            self._replace(place, child)
        else:
            child.kill()
            self._children[place] = None
            self._broken = self._restarts.died(place, f"pid {child.pid}: {how}")
        return self._lost(child, how, blame)

    def _replace(self, place: int, child: Child[T]) -> None:
        child.kill()
        self._start(place)

    def _start(self, place: int) -> None:
        self._children[place] = Child(self._pickled[place], self._lifeline)
