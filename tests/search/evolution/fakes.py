"""A search with a scorer that needs no torch, run in this process or in one of its own."""

import hashlib
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from vkdnw.search.evolution import Budget, SearchPlan
from vkdnw.search.evolution.run import SearchRequest, search
from vkdnw.search.progress import Lines
from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
from vkdnw.search.spaces.search_space import settings_of
from vkdnw.search.state.results import open_results
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.tasks import Scored, Task

SPACE = MobileNetV2()
PLAN: Mapping[str, Any] = {"evaluations": 60, "population": 12, "in_flight": 4}
BUDGET: Mapping[str, Any] = {"flops": 450_000_000, "depth": 14}


@dataclass(frozen=True)
class FakeProxies:
    """Values that follow from the network; one network in eight fails, others have a NaN."""

    seconds: float = 0.0
    out_of_memory: str | None = None
    """While this file is there, a few networks cost the process that scores them."""

    def __call__(self, task: Task) -> Scored:
        time.sleep(self.seconds)
        if (
            self.out_of_memory
            and digest(task.network)[1] < 16
            and Path(self.out_of_memory).exists()
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        kind = digest(task.network)[0]
        if kind < 32:
            raise MemoryError(f"no room for {task.network}")
        values = {name: number(task.network, name) for name in task.names}
        reasons = {}
        if kind < 64 and "progressivity" in values:
            values["progressivity"] = math.nan
            reasons["progressivity"] = "told to"
        return Scored(values, "2024-01-01T00:00:00.000+00:00", 0.0, reasons=reasons)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def number(network: str, name: str) -> float:
    """In [0, 1), with 53 random bits."""
    return (int.from_bytes(digest(f"{network} {name}")[:8]) >> 11) / 2**53


@dataclass(frozen=True)
class FakeSearch:
    """A search of the MobileNetV2 space with fake values."""

    out: str
    workers: int = 0
    seconds: float = 0.0
    plan: Mapping[str, Any] = field(default_factory=dict)
    out_of_memory: str | None = None
    file_limit: int | None = None
    """Bytes that a file may have, as a stand-in for a full disk."""

    @property
    def request(self) -> SearchRequest:
        plan = SearchPlan(budget=Budget(**BUDGET), **{**PLAN, **self.plan})
        return SearchRequest(
            folder=Path(self.out),
            space=SPACE,
            plan=plan,
            settings={**settings_of(SPACE), **plan.settings(), "workers": self.workers},
            inputs={plan.score_seed: {"batch": "batch 0"}},
            scorers=[FakeProxies(self.seconds, self.out_of_memory)] * max(1, self.workers),
            in_this_process=self.workers == 0,
            founder=SPACE.founder,
        )

    @property
    def command(self) -> list[str]:
        return [sys.executable, __file__, json.dumps(asdict(self))]

    def run_here(self) -> None:
        """Search in this process, from the first child to the last."""
        search(self.request, Lines(Console(quiet=True)), Interruption())

    def work(self) -> None:
        """Search as the subcommand does, and exit."""
        if self.file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, self.file_limit))
        from tests.search.fakes import exit_as_command  # found once the file is run by its name

        exit_as_command(Path(self.out), partial(search, self.request))


def record(folder: Path) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """The record of a search: children with their values in order, exact, and failures."""
    with open_results(folder) as results:
        children = [
            (e.architecture, *(f"{name} {value.hex()}" for name, value in sorted(e.values.items())))
            for e in results.evaluations()
        ]
        failures = {failure.network: failure.reason for failure in results.tally().failures}
    return children, failures


if __name__ == "__main__":
    # Behind the installed packages: a worker imports the scorer by this name.
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from tests.search.evolution.fakes import FakeSearch as ImportedFakeSearch

    ImportedFakeSearch(**json.loads(sys.argv[1])).work()
