"""How many results a second the runner and the store take on one core.

    python benchmarks/throughput.py                    # all tables
    python benchmarks/throughput.py --driver list --workers 10000 --profile
    python benchmarks/throughput.py --resume 150000    # how soon a run of so many tasks goes on

The executor is a fake: so many workers that each give a result after about half a second. Its
answers are unpickled, as those of a cluster's machines are. All else is as in a command. CPU
time is that of the whole process, less that of the fake's answers; `CPU us` is of one
result, and a core does one million divided by it in a second. It holds under other load, which the
other columns do not: `recorded/s` is the rate reached, `gap ms` the longest time for which the
executor was left alone. `propose ms` is CPU time of the driver's calls, median and 99th percentile.
"""

import argparse
import cProfile
import heapq
import itertools
import os
import pickle
import pstats
import random
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vkdnw.search.configuration import Settings
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.evolution import Budget, SearchPlan
from vkdnw.search.evolution.driver import Search
from vkdnw.search.evolution.run import SearchRequest, search
from vkdnw.search.executors import Done, Outcome
from vkdnw.search.progress import Silent
from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
from vkdnw.search.spaces.search_space import settings_of
from vkdnw.search.state.store import open_store
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.tasks import Asked, Scored, Task

DRIVERS = ("list", "evolution")
COLUMNS = (
    "driver",
    "workers",
    "asked/s",
    "recorded/s",
    "CPU us",
    "a core's/s",
    "idle",
    "gap ms",
    "propose ms",
    "bytes",
)
SETTINGS: Settings = {"batch_size": 64}
INPUTS = {0: {"batch": "noise"}}
BUNDLE = 200
"""Results of one answer of a machine, at most."""


class Simulated:
    """Workers that need no core. Reports every task exactly once, in the order they are done."""

    def __init__(self, workers: int, seconds: float, eigenvalues: int) -> None:
        self._workers = workers
        self._seconds = seconds
        self._random = random.Random(0)
        self._spectrum = tuple(self._random.random() for _ in range(eigenvalues))
        self._queue: deque[Task] = deque()
        self._number = itertools.count()
        self._due: list[tuple[float, int, Task]] = []
        self._left_at: float | None = None
        self.own_cpu = 0.0
        self.gap = 0.0
        self.idle = 0.0
        """Seconds of workers that had nothing to do."""
        self._looked_at = time.monotonic()
        self.begun_cpu, self.begun = time.process_time(), time.monotonic()

    @property
    def slots(self) -> int:
        return self._workers

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self, timeout: float) -> Sequence[Outcome[Task, Scored]]:
        begun, now = time.thread_time(), time.monotonic()
        if self._left_at is not None:
            self.gap = max(self.gap, now - self._left_at)
        self.idle += (now - self._looked_at) * (self._workers - len(self._due))
        self._looked_at = now
        while self._queue and len(self._due) < self._workers:
            seconds = self._seconds * self._random.uniform(0.5, 1.5)
            heapq.heappush(self._due, (now + seconds, next(self._number), self._queue.popleft()))
        if self._due:
            time.sleep(min(timeout, max(0.0, self._due[0][0] - time.monotonic())))
        sent = []
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            sent.append(self.answer(heapq.heappop(self._due)[2]))
        bundles = [
            pickle.dumps(sent[begin : begin + BUNDLE]) for begin in range(0, len(sent), BUNDLE)
        ]
        self.own_cpu += time.thread_time() - begun
        arrived = [outcome for bundle in bundles for outcome in pickle.loads(bundle)]
        self._left_at = time.monotonic()
        return arrived

    def answer(self, task: Task) -> Done[Task, Scored]:
        """Values that use every bit."""
        values = {name: self._random.random() for name in task.names}
        arrays = {"deciles": self._spectrum[:9]}
        if len(self._spectrum) > 9:
            # New objects, as pickle would otherwise send one spectrum for all.
            arrays["eigenvalues"] = tuple(map(self._random.random().__add__, self._spectrum))
        return Done(task, Scored(values, "2024-01-01T00:00:00.000+00:00", self._seconds, arrays))

    def cancel(self) -> Sequence[Task]:
        dropped = list(self._queue)
        self._queue.clear()
        return dropped

    def close(self) -> None:
        self.ended_cpu, self.ended = time.process_time(), time.monotonic()


class Starting:
    """Makes the executor once the run is ready for it, and notes when that was."""

    def __init__(self, workers: int, seconds: float, eigenvalues: int) -> None:
        self._arguments = workers, seconds, eigenvalues
        self.executor: Simulated

    def __call__(self, store: Any, note: Any) -> Any:
        self.executor = Simulated(*self._arguments)
        return self.executor


def names(count: int) -> list[str]:
    """As long as those of NAS-Bench-201."""
    cell = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|{}~2|"
    return [cell.format(number) for number in range(count)]


def request_of(folder: Path, count: int, start: Any) -> Request:
    """A run of a list of `count` networks."""
    counts = {"layers": 66, "flops": 1.2e8}
    return Request(
        folder=folder,
        settings=SETTINGS,
        asked=[Asked(name, name, counts) for name in names(count)],
        inputs=INPUTS,
        scorers=[],
        cluster=start,
    )


def evolved(folder: Path, count: int, start: Starting, workers: int) -> None:
    """A search of `count` networks, with as many in flight as the workers want.

    It begins at samples of the space: there are fewer founders of the paper's kind than workers.
    """
    space = MobileNetV2()
    plan = SearchPlan(evaluations=count, in_flight=4 * workers, budget=Budget(flops=2_000_000_000))
    request = SearchRequest(
        folder=folder,
        space=space,
        plan=plan,
        settings={**settings_of(space), **plan.settings()},
        inputs=INPUTS,
        scorers=[],
        cluster=start,
    )
    search(request, Silent(), Interruption())


@contextmanager
def timed_proposals() -> Iterator[list[float]]:
    """CPU seconds of every call of an evolution's `propose`."""
    seconds: list[float] = []
    propose = Search.propose

    def timed(self: Search, room: int) -> Sequence[Task]:
        begun = time.thread_time()
        try:
            return propose(self, room)
        finally:
            seconds.append(time.thread_time() - begun)

    Search.propose = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Search.propose = propose  # type: ignore[method-assign]


def measure(driver: str, workers: int, arguments: argparse.Namespace) -> list[str]:
    """One run: a row of the table."""
    start = Starting(workers, arguments.seconds, arguments.eigenvalues)
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, timed_proposals() as proposals:
        if arguments.profile:
            profile.enable()
        if driver == "list":
            score_all(request_of(Path(name), arguments.results, start), Silent(), Interruption())
        else:
            evolved(Path(name), arguments.results, start, workers)
        profile.disable()
        size = sum(file.stat().st_size for file in Path(name).iterdir())
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    ran = start.executor
    cpu = (ran.ended_cpu - ran.begun_cpu - ran.own_cpu) / arguments.results
    wall = ran.ended - ran.begun
    slow = sorted(proposals) or [0.0]
    return [
        driver,
        f"{workers:,}",
        f"{workers / arguments.seconds:,.0f}",
        f"{arguments.results / wall:,.0f}",
        f"{1e6 * cpu:.1f}",
        f"{1 / cpu:,.0f}",
        f"{100 * ran.idle / (wall * workers):.0f} %",
        f"{1e3 * ran.gap:.0f}",
        ", ".join(f"{1e3 * slow[int(share * (len(slow) - 1))]:.1f}" for share in (0.5, 0.99)),
        f"{size / arguments.results:,.0f}",
    ]


class BegunError(Exception):
    """The run would hand out its first task."""


def resume(count: int, arguments: argparse.Namespace) -> None:
    """Ask for `count` tasks, record a share of them, and give the same command again."""
    for share in (0.0, 0.5):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            print(f"{count:,} tasks, {share:.0%} on record:", end=" ", flush=True)
            print("first command", before_the_first_task(folder, count), end="; ", flush=True)
            record(folder, int(share * count), arguments)
            again = [before_the_first_task(folder, count) for _ in range(arguments.rounds)]
            print("again", ", ".join(again))


def before_the_first_task(folder: Path, count: int) -> str:
    """Time until a command on a list of `count` networks hands out its first task."""

    def start(store: Any, note: Any) -> Any:
        times.extend((time.process_time(), time.monotonic()))
        raise BegunError

    request = request_of(folder, count, start)
    times = [time.process_time(), time.monotonic()]
    with suppress(BegunError):
        score_all(request, Silent(), Interruption())
    cpu, wall = times[2] - times[0], times[3] - times[1]
    return f"{cpu:.2f} s of CPU time ({wall:.2f} s)"


def record(folder: Path, count: int, arguments: argparse.Namespace) -> None:
    """Record results of the first `count` networks."""
    executor = Simulated(1, 0.0, arguments.eigenvalues)
    with open_store(folder) as store:
        store.begin(SETTINGS, {}, INPUTS)
        tasks = [Task(name, 0) for name in names(count)]
        for begin in range(0, count, 2000):
            done = [executor.answer(task) for task in tasks[begin : begin + 2000]]
            store.record([(one.task, one.result) for one in done])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--driver", nargs="+", choices=DRIVERS, default=list(DRIVERS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=0.5, help="of a task")
    parser.add_argument("--results", type=int, default=50_000)
    parser.add_argument("--eigenvalues", type=int, default=128, help="kept of each; 0 for none")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--resume", type=int, help="measure the begin of so many tasks instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where runs are written; by default a temporary folder")
    arguments = parser.parse_args()
    if arguments.resume:
        resume(arguments.resume, arguments)
        return
    table = Table(*COLUMNS)
    for driver in arguments.driver:
        for workers in arguments.workers:
            table.add_row(*measure(driver, workers, arguments))
    console = Console(width=140)
    console.print(table)
    console.print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
