"""Scoring a list of architectures: one command's work on a run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.search.progress import Progress
from vkdnw.search.session import Session, begun, carry_out
from vkdnw.search.state.store import Store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import Summary
from vkdnw.search.tasks import Asked, Failure, Scored, Task
from vkdnw.search.time_remaining import Remaining


@dataclass(frozen=True, kw_only=True)
class Request(Session):
    """The architectures to score, how, and the folder of the scores."""

    asked: Sequence[Asked]
    names: tuple[str, ...] = ("vkdnw",)
    """The values to compute."""


class Enumeration:
    """The driver that goes through a list."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)

    def propose(self, room: int) -> Sequence[Task]:
        return list(islice(self._tasks, room))

    def observe(self, task: Task, result: Scored | Failure) -> None:
        """Results do not change the list."""


def score_all(request: Request, progress: Progress, interruption: Interruption) -> Summary:
    """Score the tasks that are not yet on record, and return their counts.

    Raises:
        RunError: see `begun` and `carry_out`.
    """
    with begun(request, progress) as store:
        seeds = list(request.inputs)
        with gc_disabled():  # it would go through all of the list, time and again
            store.ask(request.asked, seeds, request.names)
            everything = tasks_of(request.asked, seeds, request.names)
            tasks = pending(store, everything)
        progress.start(total=len(everything), done=len(everything) - len(tasks))
        if not tasks:
            return Summary()
        remaining = Remaining(Counter(task.names for task in tasks))
        driver = Enumeration(tasks)
        return carry_out(request, store, driver, remaining, len(tasks), progress, interruption)


def tasks_of(asked: Iterable[Asked], seeds: Iterable[int], names: tuple[str, ...]) -> list[Task]:
    """Every network under every seed.

    Seed by seed, because a run that is stopped early then knows all networks under one seed
    instead of some under all.
    """
    networks = dict.fromkeys(one.network for one in asked)
    return [Task(network, seed, names) for seed in seeds for network in networks]


def pending(store: Store, tasks: Iterable[Task]) -> list[Task]:
    """The values that are not on record yet of each task, those that failed before last."""
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
