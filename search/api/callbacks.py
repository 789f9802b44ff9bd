"""The callback of a search: one call for each result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vkdnw.search.tasks import Failure, Scored, Task


@dataclass(frozen=True)
class Result:
    """The argument of a callback: one network under one seed, already on disk."""

    architectures: Sequence[str]
    """The requested architectures that are this network."""
    network: str
    seed: int
    values: Mapping[str, float]
    """The proxies, the counts of the string (layers, flops, parameters), and `single`."""
    seconds: float
    error: str | None = None
    """Why there are no values."""

    @property
    def architecture(self) -> str:
        """The first of the architectures."""
        return self.architectures[0]


OnResult = Callable[[Result], None]


@dataclass(frozen=True)
class ResultCallback:
    """Calls a user's function with the :class:`Result` of a task."""

    callback: OnResult
    counts: Callable[[str], Mapping[str, float]]
    """The counts that the string of a network gives: layers, flops, parameters."""
    architectures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Requested architectures by network, where they differ from it."""

    def __call__(self, task: Task, result: Scored | Failure) -> None:
        names = self.architectures.get(task.network, (task.network,))
        if isinstance(result, Failure):
            self.callback(Result(names, task.network, task.seed, {}, 0.0, result.reason))
            return
        values = {**result.values, **self.counts(task.network)}
        if "vkdnw" in values:
            values["single"] = values["layers"] + values["vkdnw"]
        self.callback(Result(names, task.network, task.seed, values, result.seconds))
