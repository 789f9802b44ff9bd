"""The machine's side: workers answer probes with their values and with the facts of the machine."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.search.fakes import FakeScorer
from vkdnw.search.cluster import machine as machine_module
from vkdnw.search.cluster.interface import Greeting, MachineLostError, Unfit
from vkdnw.search.cluster.machine import PooledMachine, Probe, Worker
from vkdnw.search.cluster.machine_identity import fingerprint, hexadecimal
from vkdnw.search.executors import Done, Failed, InProcess, Lost
from vkdnw.search.executors.interface import at_once
from vkdnw.search.tasks import Task

PROBES = [Task("net 0", 0), Task("net 1", 0)]


class PoolHere(InProcess[Any, Any]):
    """A pool without processes, for as many functions as it is given."""

    def __init__(self, functions: Sequence[Callable[[Any], Any]], **options: Any) -> None:
        super().__init__(functions[0])
        self.count = len(functions)

    @property
    def slots(self) -> int:
        return self.count


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "ProcessPool", PoolHere)


def a_worker_a_core(cores: int) -> list[FakeScorer]:
    return [FakeScorer()] * cores


def test_it_greets_with_its_workers_its_probes_and_its_facts() -> None:
    greeting = PooledMachine(3, a_worker_a_core, PROBES, hexadecimal).greet()
    values = tuple(hexadecimal(FakeScorer()(task)) for task in PROBES)
    assert greeting == Greeting(3, fingerprint(), values)


def test_it_scores_tasks_after_the_probes() -> None:
    machine = PooledMachine(2, a_worker_a_core, PROBES, hexadecimal)
    machine.greet()
    task = Task("net 7", 0)
    (outcome,) = machine.exchange([task], 0.0)
    assert isinstance(outcome, Done)
    assert outcome.task == task
    assert outcome.result.values == FakeScorer()(task).values


def test_a_worker_takes_as_many_tasks_together_as_its_function() -> None:
    worker = Worker(Pairs(), str)
    assert at_once(worker) == 2
    assert worker.together([1, 2]) == [(1, 2), (1, 2)]
    assert worker.together([Probe(1), 2]) == [None, None]  # then each alone


class Pairs:
    """Takes two tasks together."""

    at_once = 2

    def __call__(self, task: int) -> tuple[int, ...]:
        return (task,)

    def together(self, tasks: Sequence[int]) -> list[tuple[int, ...]]:
        return [tuple(tasks)] * len(tasks)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Failed(PROBES[0], "RuntimeError: no such op", ""), "no such op"),
        (Lost(PROBES[0], "worker 7 was lost: killed by SIGILL", "worker"), "SIGILL"),
    ],
)
def test_a_machine_that_cannot_score_a_probe_is_unfit(
    outcome: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoolHere, "wait", lambda self, timeout: [outcome])
    answer = PooledMachine(2, a_worker_a_core, PROBES, hexadecimal).greet()
    assert isinstance(answer, Unfit)
    assert reason in answer.reason


def test_a_worker_killed_from_outside_does_not_rule_the_machine_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = Lost(PROBES[0], "worker 7 was lost: killed by SIGKILL", "system")
    monkeypatch.setattr(PoolHere, "wait", lambda self, timeout: [killed])
    with pytest.raises(MachineLostError, match="SIGKILL"):
        PooledMachine(2, a_worker_a_core, PROBES, hexadecimal).greet()


def test_a_machine_without_the_device_is_unfit() -> None:
    def no_device(cores: int) -> list[FakeScorer]:
        raise ValueError("cuda: torch finds no CUDA device here")

    answer = PooledMachine(2, no_device, PROBES, hexadecimal).greet()
    assert answer == Unfit("cuda: torch finds no CUDA device here")
