"""A scorer without torch, whose networks can be told to misbehave, and runs of it."""

import hashlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import typer

from vkdnw.search import task_runner
from vkdnw.search.api.interruptible import interruptible
from vkdnw.search.cli import console
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.cli.interrupts import exit_when_interrupted
from vkdnw.search.configuration import Json
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.progress import Progress, progress_on
from vkdnw.search.state.results import open_results
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.tasks import Asked, Scored, Task

INPUTS = {0: {"batch": "batch 0"}, 1: {"batch": "batch 1"}}
SETTINGS = {"batch_size": 4, "dtype": "float32", "workers": 1}


@dataclass(frozen=True)
class FakeScorer:
    """Values that depend on the task alone, and use every bit of a float64.

    A network `die:NAME` kills the process that scores it, `hang:NAME` never returns and
    `raise:NAME` fails, each only while a file NAME is in the folder `faults`.
    """

    seconds: float = 0.0
    faults: Path | None = None

    def __call__(self, task: Task) -> Scored:
        begun = time.perf_counter()
        fault, _, name = task.network.partition(":")
        if self.faults is not None and (self.faults / name).exists() and name:
            misbehave(fault, task)
        time.sleep(self.seconds)
        deciles = tuple(number(task, decile) for decile in range(9))
        return Scored(
            values={"vkdnw": number(task, "vkdnw")},
            started_at="2024-01-01T00:00:00.000+00:00",
            seconds=time.perf_counter() - begun,
            arrays={"deciles": deciles},
        )


def misbehave(fault: str, task: Task) -> None:
    if fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        time.sleep(3600)
    if fault == "raise":
        raise ValueError(f"no score for {task.network}")


def number(task: Task, what: object) -> float:
    """In [0, 1), with 53 random bits."""
    digest = hashlib.sha256(f"{task.network} {task.seed} {what}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def architectures(count: int, extra: Sequence[str] = ()) -> list[Asked]:
    """Architectures of which every third is equal to the one before it."""
    plain = [
        Asked(f"arch {i}", f"net {i - (i % 3 == 2)}", {"layers": 21 + i}) for i in range(count)
    ]
    return [*plain, *(Asked(name, name, {"layers": 1}) for name in extra)]


def rows(folder: Path) -> dict[tuple[str, int], tuple[str, ...]]:
    """Everything a run knows that must not depend on how it went: exact, as hexadecimal."""
    with open_results(folder) as results:
        return {
            (e.architecture, e.seed): (
                e.network,
                *(f"{name} {value.hex()}" for name, value in sorted(e.values.items())),
                *(value.hex() for value in e.deciles),
            )
            for e in results.evaluations()
        }


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll until a function is true; fail loudly when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead but not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def exit_as_command(folder: Path, work: Callable[[Progress, Interruption], object]) -> NoReturn:
    """Do the work on a run as a subcommand does, and exit with its code."""

    def command() -> None:
        with exit_when_interrupted(folder):
            interruptible(folder, work, progress_on(console.stderr()))

    app = typer.Typer()
    app.command()(command)
    sys.exit(run(app, []))


@dataclass(frozen=True)
class FakeRun:
    """A run of the fake scorer, as the fault tests start it in a process of its own."""

    out: str
    count: int = 60
    extra: tuple[str, ...] = ()
    workers: int = 2
    seconds: float = 0.0
    faults: str | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    file_limit: int | None = None
    """Bytes that a file may have, as a stand-in for a full disk."""
    grace: float = 10.0
    task_timeout: float | None = None

    def request(self) -> Request:
        scorer = FakeScorer(self.seconds, Path(self.faults) if self.faults else None)
        return Request(
            folder=Path(self.out),
            settings={**SETTINGS, "workers": self.workers, **self.settings},
            asked=architectures(self.count, self.extra),
            inputs=INPUTS,
            scorers=[scorer] * max(1, self.workers),
            in_this_process=self.workers == 0,
            task_timeout=self.task_timeout,
        )

    @property
    def command(self) -> list[str]:
        return [sys.executable, __file__, json.dumps(asdict(self))]

    def work(self) -> None:
        """Score as a subcommand does, and exit."""
        task_runner.GRACE_SECONDS = self.grace
        if self.file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, self.file_limit))
        exit_as_command(Path(self.out), partial(score_all, self.request()))


if __name__ == "__main__":
    # Behind the installed packages: a worker imports the scorer by this name.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from tests.search.fakes import FakeRun as ImportedFakeRun

    ImportedFakeRun(**json.loads(sys.argv[1])).work()
