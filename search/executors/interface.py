"""The interface between a runner and whatever carries out its tasks."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Done(Generic[T, R]):
    """The task was carried out."""

    task: T
    result: R


@dataclass(frozen=True)
class Failed(Generic[T]):
    """The task raised. It may raise again: whether to retry is the runner's decision."""

    task: T
    reason: str
    """One line: the exception's type and message."""
    details: str
    """The traceback, as text: tracebacks do not travel between processes."""


Blame = Literal["worker", "system", "machine"]
"""Of a lost task: "worker" where its own worker process died of something that the task may have
caused (a segmentation fault, an exit, a GPU error that outlives the task); "system" where the
process was killed or stopped from outside, as the kernel does when memory runs out; "machine" where
a whole machine went away, which no task causes."""


@dataclass(frozen=True)
class Lost(Generic[T]):
    """The worker died with the task in hand, or its machine is gone."""

    task: T
    reason: str
    blame: Blame = "worker"


Outcome = Done[T, R] | Failed[T] | Lost[T]


class Executor(Protocol[T, R]):
    """Carries out tasks, several at once, and reports each exactly once unless cancelled.

    Tasks and results are small, immutable and picklable. A task's result must depend on the task
    alone, because a lost task is submitted again and may run anywhere.
    """

    @property
    def slots(self) -> int:
        """How many tasks are worked on at once; none while no machine is there."""

    def submit(self, task: T) -> None:
        """Accept a task; never blocks on its execution."""

    def wait(self, timeout: float) -> Sequence[Outcome[T, R]]:
        """Return outcomes as soon as there are some, or nothing after about `timeout` s.

        May return nothing earlier. An executor that computes in the caller's thread computes here.
        """

    def cancel(self) -> Sequence[T]:
        """Take back the tasks that no worker has begun; the others go on."""

    def close(self) -> None:
        """Stop at once and free everything; tasks in flight are dropped."""


class TakesSeveral(Protocol[T_contra, R_co]):
    """A function of tasks for which several together are less work than one after the other."""

    @property
    def at_once(self) -> int:
        """How many tasks it is given together, at most."""

    def __call__(self, task: T_contra) -> R_co:
        """The result of one task."""

    def together(self, tasks: Sequence[T_contra]) -> Sequence[R_co | None]:
        """The results that the tasks have alone, to the last bit; None for one that has to be
        carried out alone, because it fails."""


def at_once(function: Callable[[T], R]) -> int:
    """How many tasks a function is given together: one, unless it is a `TakesSeveral`."""
    return getattr(function, "at_once", 1)


def carry_out_all(function: Callable[[T], R], tasks: Sequence[T]) -> list[Outcome[T, R]]:
    """The outcomes of tasks that were given together.

    Of several, only results are taken from the attempt together: a task that has none is carried
    out alone, and its outcome is what it would always have been. Where the process can compute
    nothing any more, which may be another task's doing, the rest is left out.
    """
    if len(tasks) == 1:
        return [carry_out(function, tasks[0])]
    several: TakesSeveral[T, R] = function  # type: ignore[assignment]
    try:
        results = several.together(tasks)
    except Exception:
        results = [None] * len(tasks)
    found = list(zip(tasks, results, strict=True))
    outcomes: list[Outcome[T, R]] = [Done(task, made) for task, made in found if made is not None]
    for task, made in found:
        if made is None:
            outcome = carry_out(function, task)
            if isinstance(outcome, Lost):
                break
            outcomes.append(outcome)
    return outcomes


def without_outcome(tasks: Sequence[T], outcomes: Sequence[Outcome[T, R]]) -> list[T]:
    """The tasks, of those that were given together, that have to be carried out again."""
    told = [outcome.task for outcome in outcomes]
    return [task for task in tasks if task not in told]


def carry_out(function: Callable[[T], R], task: T) -> Outcome[T, R]:
    """Apply the function, with an exception turned into an outcome.

    It is `Lost` where the exception leaves a process in which nothing can be computed any more; the
    process has to end.
    """
    try:
        return Done(task, function(task))
    except Exception as error:
        message = str(error).strip() or "no message"
        reason = f"{type(error).__name__}: {message.splitlines()[0]}"
        if outlives_its_task(error):
            return Lost(task, f"the GPU cannot be used in its worker any more: {reason}")
        return Failed(task, reason, traceback.format_exc())


def outlives_its_task(error: BaseException) -> bool:
    """Whether an error is one of CUDA's that every later call in the process meets again.

    An illegal access, for one. Running out of memory is none: torch raises `OutOfMemoryError`.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return False
    return "AcceleratorError" in names or "CUDA error:" in str(error)
