"""The machine's side: a process pool of its own, and its description of itself for the driver."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic

from vkdnw.search.cluster.interface import Greeting, Unfit
from vkdnw.search.cluster.machine_identity import fingerprint
from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.interface import Done, Outcome, R, T
from vkdnw.search.executors.process_pool import ProcessPool

MOST_OUTCOMES = 2000
"""Outcomes of one answer."""
GATHER_SECONDS = 0.02
"""After the first outcome: how long others are waited for, so that answers are few."""


class PooledMachine(Generic[T, R]):
    """Runs as the one actor of a machine.

    Args:
        workers: makes the function of each worker, here, where the cores and devices are known.
        probes: tasks whose values tell which class of machine this is.
        hexadecimal: the values of a probe's result to the last bit.
        task_timeout: seconds that a task may take; None for as long as it wants.
    """

    def __init__(
        self,
        workers: Callable[[], Sequence[Callable[[T], R]]],
        probes: Sequence[T],
        hexadecimal: Callable[[R], str],
        task_timeout: float | None = None,
    ) -> None:
        self._workers = workers
        self._probes = probes
        self._hexadecimal = hexadecimal
        self._task_timeout = task_timeout
        self._pool: ProcessPool[T, R]

    def greet(self) -> Greeting | Unfit:
        """Start the workers, score the probes, and describe this machine, or say why it cannot
        score."""
        try:
            self._pool = ProcessPool(self._workers(), task_timeout=self._task_timeout)
            probe = self._probe()
        except (ExecutorError, ValueError, RuntimeError) as error:
            return Unfit(str(error))
        return Greeting(self._pool.slots, fingerprint(), probe)

    def _probe(self) -> tuple[str, ...]:
        for task in self._probes:
            self._pool.submit(task)
        values: dict[T, str] = {}
        while len(values) < len(self._probes):
            for outcome in self._pool.wait(1.0):
                match outcome:
                    case Done(task, result):
                        values[task] = self._hexadecimal(result)
                    case unsuccessful:
                        raise RuntimeError(f"it cannot score a probe: {unsuccessful.reason}")
        return tuple(values[task] for task in self._probes)

    def exchange(self, tasks: Sequence[T], patience: float) -> list[Outcome[T, R]]:
        """Take tasks; return the results of about the next `patience` seconds."""
        for task in tasks:
            self._pool.submit(task)
        outcomes = list(self._pool.wait(patience))
        deadline = time.monotonic() + GATHER_SECONDS
        while outcomes and len(outcomes) < MOST_OUTCOMES:
            left = deadline - time.monotonic()
            more = self._pool.wait(max(left, 0.0))
            if not more and left <= 0:
                break
            outcomes += more
        return outcomes

    def cancel(self) -> list[T]:
        """Forget the tasks that no worker has begun, and return them."""
        return list(self._pool.cancel())

    def close(self) -> None:
        """Stop the workers."""
        self._pool.close()

    def __reduce__(self) -> Any:
        raise TypeError("a machine stays where it is")
