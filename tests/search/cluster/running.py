"""A run of slow tasks on a Ray cluster that is up, for tests in which something happens to it.

    python -m tests.search.cluster.running HOST:PORT FOLDER SECONDS

runs it in a process of its own, which prints a line for each thing that happens. A task takes so
many seconds.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.search.fakes import SETTINGS, FakeScorer
from vkdnw.search.cluster.executor import ClusterExecutor
from vkdnw.search.cluster.machine_identity import hexadecimal
from vkdnw.search.cluster.ray_cluster import RayCluster
from vkdnw.search.enumeration import Enumeration, pending
from vkdnw.search.executors import Executor, InProcess
from vkdnw.search.progress import Progress, Silent
from vkdnw.search.state.store import open_store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import Runner, Summary
from vkdnw.search.tasks import Asked, Scored, Task

TASKS = [Task(f"net {i}", 0) for i in range(400)]


def two_workers(seconds: float, cores: int) -> Sequence[FakeScorer]:
    return [FakeScorer(seconds), FakeScorer(seconds)]


def run_tasks(address: str, folder: Path, progress: Progress, seconds: float = 0.1) -> Summary:
    """Score the tasks with two workers on each machine of the cluster."""
    engine = RayCluster(address, [partial(two_workers, seconds), TASKS[:2], hexadecimal])
    return _run(ClusterExecutor(engine, lambda _: None, progress.note), folder, progress)


def run_here(folder: Path) -> Summary:
    """Score what is left of the tasks in this process."""
    return _run(InProcess(FakeScorer()), folder, Silent())


def _run(executor: Executor[Task, Scored], folder: Path, progress: Progress) -> Summary:
    with open_store(folder) as store, closing(executor):
        store.begin(SETTINGS, {}, {0: {"batch": "digest"}})
        store.ask([Asked(task.network, task.network) for task in TASKS], [0], ["vkdnw"])
        driver = Enumeration(pending(store, TASKS))
        return Runner(executor, store, progress, Interruption()).run(driver)


class Printing:
    """A progress that prints its reports, a line each."""

    def __enter__(self) -> "Printing":
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, total: int, done: int) -> None: ...

    def advance(self, scored: int, failed: int) -> None:
        if scored or failed:
            print(f"advanced by {scored} and {failed}", flush=True)

    def note(self, text: str) -> None:
        print(text, flush=True)


if __name__ == "__main__":
    from tests.search.cluster.running import run_tasks as imported  # machines import it, too

    address, folder, seconds = sys.argv[1:]
    print(imported(address, Path(folder), Printing(), float(seconds)), flush=True)
