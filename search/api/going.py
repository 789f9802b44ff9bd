"""Doing the work of a call: progress, Ctrl-C, and a callback for each result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from vkdnw.search.errors import Interrupted
from vkdnw.search.evaluation import Failure, Scored, Task
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import Progress, Silent, progress_here

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What a callback is given: one network under one seed, on disk already."""

    architectures: Sequence[str]
    """Those asked for that are this network."""
    network: str
    seed: int
    values: Mapping[str, float]
    """What was computed, what the string tells (layers, flops, parameters), and `single`."""
    seconds: float
    error: str | None = None
    """Why there are no values."""

    @property
    def architecture(self) -> str:
        """The first of the architectures."""
        return self.architectures[0]


OnResult = Callable[[Result], None]


@dataclass(frozen=True)
class Telling:
    """Makes a callback's result of a task's: what a runner's driver is told goes to the user."""

    callback: OnResult
    counts: Callable[[str], Mapping[str, float]]
    """What the string of a network tells."""
    architectures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By network, where others than the network itself were asked for."""

    def __call__(self, task: Task, result: Scored | Failure) -> None:
        names = self.architectures.get(task.network, (task.network,))
        if isinstance(result, Failure):
            self.callback(Result(names, task.network, task.seed, {}, 0.0, result.reason))
            return
        values = {**result.values, **self.counts(task.network)}
        if "vkdnw" in values:
            values["single"] = values["layers"] + values["vkdnw"]
        self.callback(Result(names, task.network, task.seed, values, result.seconds))


def go(
    folder: Path, begin: Callable[[Progress, Interruption], T], progress: Progress | bool = True
) -> T:
    """Do what `begin` does on a run, and return what it returns.

    Args:
        folder: of the run.
        begin: the work, which stops early when it is interrupted.
        progress: shows how far it is; True for what suits a terminal, a notebook or a log.

    Raises:
        Interrupted: after the first Ctrl-C or SIGTERM, when what was in flight is finished, or at
            once after the second. What was finished is on disk.
    """
    interruption = Interruption()
    shown = (progress_here() if progress else Silent()) if isinstance(progress, bool) else progress
    try:
        with interruption, shown:
            result = begin(shown, interruption)
    except KeyboardInterrupt as error:
        if not interruption.requested:
            raise
        raise Interrupted(_told(folder)) from error
    if interruption.requested:
        stopped = Interrupted(_told(folder))
        stopped.signal = interruption.signal
        raise stopped
    return result


def _told(folder: Path) -> str:
    return f"stopped; what was finished is in {folder}, and the same call goes on"
