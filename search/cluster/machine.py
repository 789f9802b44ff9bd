"""The machine's side: a process pool of its own, and its description of itself for the driver."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from vkdnw.search.cluster.interface import Greeting, MachineLostError, Unfit
from vkdnw.search.cluster.machine_identity import fingerprint
from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors.interface import Done, Lost, Outcome, R, T, at_once
from vkdnw.search.executors.process_pool import ProcessPool

MOST_OUTCOMES = 2000
"""Outcomes of one answer."""
GATHER_SECONDS = 0.02
"""After the first outcome: how long others are waited for, so that answers are few."""


@dataclass(frozen=True)
class Probe(Generic[T]):
    """A task whose values tell which class of machine this is."""

    task: T


@dataclass(frozen=True)
class Probed:
    """The answer to a probe."""

    values: str
    """To the last bit."""
    fingerprint: dict[str, str]
    """Of the machine, as the worker sees it."""


@dataclass(frozen=True)
class Worker(Generic[T, R]):
    """The function of a worker: it answers probes besides tasks."""

    function: Callable[[T], R]
    hexadecimal: Callable[[R], str]

    def __call__(self, task: T | Probe[T]) -> R | Probed:
        if isinstance(task, Probe):
            return Probed(self.hexadecimal(self.function(task.task)), fingerprint())
        return self.function(task)

    @property
    def at_once(self) -> int:
        return at_once(self.function)

    def together(self, tasks: Sequence[T | Probe[T]]) -> Sequence[R | None]:
        """Probes are answered alone."""
        if any(isinstance(task, Probe) for task in tasks):
            return [None] * len(tasks)
        together: Callable[[Sequence[Any]], Sequence[R | None]] = self.function.together  # type: ignore[attr-defined]
        return together(tasks)


class PooledMachine(Generic[T, R]):
    """Runs as the one actor of a machine.

    It starts the workers at once and leaves all that needs torch to them: a machine that joins
    would otherwise load torch twice, one time after the other.

    Args:
        cores: of the machine, as many as Ray may use.
        workers: makes the function of each worker from the cores, here, where the devices are.
        probes: tasks whose values tell which class of machine this is.
        hexadecimal: the values of a probe's result to the last bit.
        task_timeout: seconds that a task may take; None for as long as it wants.
    """

    def __init__(
        self,
        cores: int,
        workers: Callable[[int], Sequence[Callable[[T], R]]],
        probes: Sequence[T],
        hexadecimal: Callable[[R], str],
        task_timeout: float | None = None,
    ) -> None:
        self._cores = cores
        self._workers = workers
        self._probes = probes
        self._hexadecimal = hexadecimal
        self._task_timeout = task_timeout
        self._pool: ProcessPool[Any, Any]

    def greet(self) -> Greeting | Unfit:
        """Start the workers, score the probes, and describe this machine, or say why it cannot
        score.

        Raises MachineLostError where a worker was killed meanwhile, so that it is tried again.
        """
        try:
            functions = self._workers(self._cores)
            workers = [Worker(function, self._hexadecimal) for function in functions]
            self._pool = ProcessPool(workers, task_timeout=self._task_timeout)
            probed = self._probe()
        except (ExecutorError, ValueError, RuntimeError) as error:
            return Unfit(str(error))
        values = tuple(answer.values for answer in probed)
        return Greeting(self._pool.slots, probed[0].fingerprint, values)

    def _probe(self) -> list[Probed]:
        for task in self._probes:
            self._pool.submit(Probe(task))
        answers: dict[T, Probed] = {}
        while len(answers) < len(self._probes):
            for outcome in self._pool.wait(1.0):
                match outcome:
                    case Done(probe, answer):
                        answers[probe.task] = answer
                    case Lost(blame="system"):
                        raise MachineLostError(outcome.reason)
                    case unsuccessful:
                        raise RuntimeError(f"it cannot score a probe: {unsuccessful.reason}")
        return [answers[task] for task in self._probes]

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
