"""Scoring a list of architectures: one command's work on a run."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.search.configuration import Settings, versions
from vkdnw.search.evaluation import Asked, Failure, Scored, Task
from vkdnw.search.executors import Executor, start
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import Expecting, Progress
from vkdnw.search.remaining import Remaining
from vkdnw.search.runner import Runner, Summary
from vkdnw.search.state.store import Inputs, Store, open_store
from vkdnw.search.watching import OnOutcome, kept, watched


@dataclass(frozen=True)
class Request:
    """What to score, how, and where to keep it."""

    folder: Path
    settings: Settings
    asked: Sequence[Asked]
    inputs: Inputs
    """The seeds to score under, each with the SHA-256 of what networks see under it."""
    scorers: Sequence[Callable[[Task], Scored]]
    """What each worker process applies; they differ by their devices at most."""
    names: tuple[str, ...] = ("vkdnw",)
    """The values to compute."""
    in_this_process: bool = False
    """Score here, by the first of the scorers, and start no worker."""
    on_result: OnOutcome | None = None
    """Is told of every result, once it is on disk."""
    note: str | None = None
    """What the user should know of how it is run."""
    task_timeout: float | None = None
    """Seconds that a task may take in a worker of this machine; None for as long as it wants."""
    cluster: Callable[[Store, Callable[[str], None]], Executor[Task, Scored]] | None = None
    """Makes the executor of a cluster, which then scores instead of this machine."""
    own_code: Settings = field(default_factory=dict)
    """Where the space and the proxies come from that are not of this package (`provenance`)."""


class Enumeration:
    """The driver that goes through a list."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)

    def propose(self, room: int) -> Sequence[Task]:
        return list(islice(self._tasks, room))

    def observe(self, task: Task, result: Scored | Failure) -> None:
        """Results do not change the list."""


def score_all(request: Request, progress: Progress, interruption: Interruption) -> Summary:
    """Score what is not yet on record, and return what was done.

    Raises:
        RunError: see `open_store`, `Store.begin` and `Runner.run`.
    """
    with open_store(request.folder) as store:
        for note in store.notes:
            progress.note(f"note: {note}")
        running = {**versions(), **request.own_code}
        for change in store.begin(request.settings, running, request.inputs):
            progress.note(f"note: since the last session, {change}; scores may differ")
        seeds = list(request.inputs)
        with gc_disabled():  # it would go through all of the list, time and again
            store.ask(request.asked, seeds, request.names)
            everything = tasks_of(request.asked, seeds, request.names)
            tasks = pending(store, everything)
        progress.start(total=len(everything), done=len(everything) - len(tasks))
        if not tasks:
            return Summary()
        remaining = Remaining(Counter(task.names for task in tasks))
        if isinstance(progress, Expecting):
            progress.expect(remaining)
        if request.note:
            progress.note(request.note)
        if request.cluster is not None:
            carrying_out = request.cluster(store, progress.note)
        else:
            carrying_out = start(
                request.scorers[: len(tasks)],
                request.in_this_process,
                request.task_timeout,
                progress.note,
            )
        with closing(carrying_out) as executor:
            driver = watched(Enumeration(tasks), kept(remaining, request.on_result))
            return Runner(executor, store, progress, interruption).run(driver)


def tasks_of(asked: Iterable[Asked], seeds: Iterable[int], names: tuple[str, ...]) -> list[Task]:
    """Every network under every seed.

    Seed by seed, because a run that is stopped early then knows all networks under one seed
    instead of some under all.
    """
    networks = dict.fromkeys(one.network for one in asked)
    return [Task(network, seed, names) for seed in seeds for network in networks]


def pending(store: Store, tasks: Iterable[Task]) -> list[Task]:
    """What is not on record yet of each task, those that failed before last."""
    recorded, failed = store.recorded(), store.failed()
    left = []
    for task in tasks:
        known = recorded.get((task.network, task.seed))
        if known is None:
            left.append(task)
        elif missing := tuple(name for name in task.names if name not in known):
            left.append(replace(task, names=missing))
    if failed:
        left.sort(key=lambda task: (task.network, task.seed) in failed)
    return left
