"""Runs to do things to: every kind of search, with values that need no network, or with networks.

`python -m soaking.runs JSON`, in this folder's parent, does one as a command of its own.
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from vkdnw.search.configuration import Configuration
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.errors import RunError
from vkdnw.search.evolution import Budget, SearchPlan
from vkdnw.search.evolution.run import SearchRequest, search
from vkdnw.search.progress import Lines, Silent
from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.search_space import settings_of
from vkdnw.search.state.results import open_results
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.tasks import Asked, Scored, Task

KINDS: Mapping[str, Mapping[str, Any]] = {
    "list": {},
    "evolution": {},
    "ageing": {"strategy": "ageing", "population": 8},
    "random": {"strategy": "random"},
    "pareto": {"pareto": "flops"},
}
"""Kind of search -> the fields of its plan."""
STARTED = "2024-01-01T00:00:00.000+00:00"
Record = dict[tuple[str, int], tuple[str, ...]]


@dataclass(frozen=True)
class Hashed:
    """Values of every bit that follow from the task; one network in sixteen fails."""

    seconds: float

    def __call__(self, task: Task) -> Scored:
        time.sleep(self.seconds)
        if _digest(task, "fails")[0] < 16:
            raise ValueError("told to fail")
        values = {name: _number(task, name) for name in task.names}
        deciles = tuple(_number(task, decile) for decile in range(9))
        return Scored(values, STARTED, 0.0, {"deciles": deciles})


def _digest(task: Task, what: object) -> bytes:
    return hashlib.sha256(f"{task.network} {task.seed} {what}".encode()).digest()


def _number(task: Task, what: object) -> float:
    return (int.from_bytes(_digest(task, what)[:8]) >> 11) / 2**53


@dataclass(frozen=True)
class SoakRun:
    """One command on one folder."""

    folder: str
    kind: str = "list"
    tasks: int = 60
    workers: int = 2
    seconds: float = 0.01
    """Of a task; 0 is for the command that finishes the run."""
    networks: bool = False
    """Score small networks instead of hashing their names."""
    file_limit: int | None = None
    """Bytes that a file may have."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "soaking.runs", json.dumps(asdict(self))]

    def here(self) -> list[str]:
        """Do it in this process, without workers; returns the notes. Raises RunError."""
        notes = Notes()
        self._do(notes, Interruption(), in_this_process=True)
        return notes.said

    def work(self) -> int:
        """Do it as a command; the exit code."""
        if self.file_limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, self.file_limit))
        with Interruption() as interruption:
            try:
                self._do(Lines(Console(stderr=True)), interruption, in_this_process=False)
            except RunError as error:
                print(error, file=sys.stderr)
                return 1
        return 0

    def _do(self, progress: Any, interruption: Interruption, in_this_process: bool) -> None:
        scorer: Any = self._scorer()
        shared = {
            "folder": Path(self.folder),
            "scorers": [scorer] * max(1, self.workers),
            "in_this_process": in_this_process or self.workers == 0,
        }
        if self.kind == "list":
            space = _cells()
            asked = [Asked(name, space.canonical(name)) for name in _names(space, self.tasks)]
            request = Request(
                **shared,
                settings=settings_of(space),
                asked=asked,
                inputs={0: {"batch": "noise"}},
            )
            score_all(request, progress, interruption)
            return
        plan = SearchPlan(
            evaluations=self.tasks,
            budget=Budget(flops=450_000_000, depth=14),
            keys=("flops", "vkdnw"),
            **{"population": 12, "in_flight": 4, **KINDS[self.kind]},
        )
        blocks = _blocks()
        search(
            SearchRequest(
                **shared,
                space=blocks,
                plan=plan,
                settings={**settings_of(blocks), **plan.settings()},
                inputs={0: {"batch": "noise"}},
                founder=blocks.founder,
            ),
            progress,
            interruption,
        )

    def _scorer(self) -> Any:
        if not self.networks:
            return Hashed(self.seconds)
        from vkdnw.search.scoring import Scorer

        space: Any = _cells() if self.kind == "list" else _blocks()
        return Scorer(space, Configuration(batch_size=2))


def _cells() -> NB201:
    return NB201(channels=2, cells=1, classes=4, resolution=8)


def _blocks() -> MobileNetV2:
    return MobileNetV2(classes=4, resolution=32)


def _names(space: NB201, count: int) -> list[str]:
    from random import Random

    random = Random(0)
    names = dict.fromkeys(space.sample(random) for _ in range(4 * count))
    return list(names)[:count]


class Notes(Silent):
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def record(folder: str) -> Record:
    """Everything on record that must not depend on how it came about, exact; {} before a run is.

    Raises:
        StoreError: the state is damaged.
    """
    if not (Path(folder) / "state.sqlite").exists():
        return {}
    with open_results(Path(folder)) as results:
        return {
            (e.architecture, e.seed): (
                e.network,
                *(f"{name} {value.hex()}" for name, value in sorted(e.values.items())),
                *(value.hex() for value in e.deciles),
            )
            for e in results.evaluations()
        }


if __name__ == "__main__":
    # Workers find the scorer by the name of this module, which is not __main__ to them.
    from soaking.runs import SoakRun as Imported

    sys.exit(Imported(**json.loads(sys.argv[1])).work())
