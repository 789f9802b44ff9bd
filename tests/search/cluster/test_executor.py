"""The cluster executor reports each task once, whatever machines come, go, and fall silent."""

from collections import Counter
from typing import Any

import pytest

from tests.search.clock import Clock
from tests.search.cluster.fakes import FakeCluster, FakeMachine
from vkdnw.search.cluster import executor as executor_module
from vkdnw.search.cluster.executor import (
    DEPTH,
    MEMBERSHIP_SECONDS,
    MOST_OUTCOMES,
    ClusterExecutor,
)
from vkdnw.search.cluster.interface import Greeting, Unfit
from vkdnw.search.cluster.ray_cluster import LOOK_SECONDS
from vkdnw.search.executors import Done, Lost
from vkdnw.search.task_runner import POLL_SECONDS

PROBE = ("vkdnw=0x1.8p+0",)


def machine(slots: int = 2, probe: tuple[str, ...] = PROBE) -> FakeMachine:
    return FakeMachine(slots, Greeting(slots, {"host": "a"}, probe))


@pytest.fixture(autouse=True)
def _look_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "MEMBERSHIP_SECONDS", 0.0)
    monkeypatch.setattr(executor_module, "FIRST_PAUSE_SECONDS", 0.0)


def executor_of(cluster: FakeCluster, notes: list[str] | None = None, **options: Any) -> Any:
    admit = options.get("admit", lambda greeting: None)
    return ClusterExecutor(cluster, admit, (notes if notes is not None else []).append)


def outcomes(executor: Any, rounds: int = 50) -> list[Any]:
    return [outcome for _ in range(rounds) for outcome in executor.wait(0.0)]


def test_each_task_is_reported_once_with_its_result() -> None:
    executor = executor_of(FakeCluster(a=machine(), b=machine(3)))
    for number in range(40):
        executor.submit(number)
    found = outcomes(executor)
    assert Counter(outcome.task for outcome in found) == Counter(range(40))
    assert all(outcome == Done(outcome.task, f"value of {outcome.task}") for outcome in found)


def test_slots_follow_the_machines_that_are_there() -> None:
    cluster = FakeCluster(a=machine(2), b=machine(3))
    cluster.alive["b"] = False
    executor = executor_of(cluster)
    assert executor.slots == 0  # nobody has greeted yet
    executor.wait(0.0)
    assert executor.slots == 2
    cluster.alive["b"] = True
    executor.wait(0.0)
    assert executor.slots == 5
    cluster.alive["a"] = cluster.alive["b"] = False
    assert executor.slots == 0


def test_a_machine_that_joins_is_begun_with_within_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine sees it after `LOOK_SECONDS` at most, the executor after another second."""
    clock = Clock()
    monkeypatch.setattr(executor_module, "time", clock)
    monkeypatch.setattr(executor_module, "MEMBERSHIP_SECONDS", MEMBERSHIP_SECONDS)
    cluster = FakeCluster(a=machine(2), b=machine(3))
    cluster.alive["b"] = False
    executor = executor_of(cluster)
    executor.wait(0.0)
    clock.now += 0.01
    cluster.alive["b"] = True
    begun = clock.now
    while cluster.started != ["a", "b"]:
        clock.now += POLL_SECONDS
        executor.wait(0.0)
    assert LOOK_SECONDS + clock.now - begun <= 2.0


def test_a_machine_holds_no_more_than_its_share() -> None:
    a = machine(2)
    executor = executor_of(FakeCluster(a=a))
    executor.wait(0.0)
    a.silent = True
    for number in range(40):
        executor.submit(number)
    outcomes(executor, 3)
    assert len(a.tasks) == DEPTH * a.slots


def test_the_tasks_of_a_machine_that_leaves_are_lost_through_the_machine() -> None:
    cluster, notes = FakeCluster(a=machine(2)), []
    executor = executor_of(cluster, notes)
    executor.wait(0.0)
    cluster.machines["a"].silent = True
    for number in range(3):
        executor.submit(number)
    executor.wait(0.0)
    cluster.alive["a"] = False
    found = outcomes(executor, 2)
    assert [(outcome.task, outcome.blame) for outcome in found] == [
        (number, "machine") for number in range(3)
    ]
    assert all(isinstance(outcome, Lost) for outcome in found)
    assert [note for note in notes if "lost" in note] == [
        "machine a is lost with 3 tasks in hand: it left the cluster"
    ]


def test_an_actor_that_dies_on_a_machine_that_stays_is_started_again() -> None:
    cluster = FakeCluster(a=machine(2))
    executor = executor_of(cluster)
    executor.wait(0.0)
    cluster.machines["a"].silent = True
    executor.submit("task")
    executor.wait(0.0)
    cluster.machines["a"].silent, cluster.machines["a"].dead = False, True
    found = outcomes(executor, 5)
    assert [type(outcome) for outcome in found] == [Lost]
    executor.submit("task")
    assert outcomes(executor, 5) == [Done("task", "value of task")]
    assert cluster.started == ["a", "a"]


def test_answers_of_a_machine_that_was_given_up_are_not_reported() -> None:
    cluster = FakeCluster(a=machine(2), b=machine(2))
    cluster.alive["b"] = False
    executor = executor_of(cluster)
    executor.wait(0.0)
    cluster.machines["a"].silent = True
    executor.submit("task")
    executor.wait(0.0)
    cluster.alive.update(a=False, b=True)
    assert [type(outcome) for outcome in outcomes(executor, 2)] == [Lost]
    cluster.machines["a"].silent = False  # it has the result after all
    executor.submit("task")
    assert outcomes(executor, 5) == [Done("task", "value of task")]


def test_a_machine_of_another_class_is_refused_once_and_named() -> None:
    notes: list[str] = []
    cluster = FakeCluster(a=machine(2), b=machine(2, ("vkdnw=0x1.9p+0",)))
    executor = executor_of(
        cluster, notes, admit=lambda greeting: None if greeting.probe == PROBE else "other bits"
    )
    outcomes(executor, 5)
    assert executor.slots == 2
    assert [note for note in notes if "not used" in note] == ["machine b is not used: other bits"]
    assert cluster.machines["b"].dead


def test_a_machine_that_cannot_score_is_refused_with_its_reason() -> None:
    notes: list[str] = []
    broken = FakeMachine(2, Unfit("the library needs avx512f"))
    executor = executor_of(FakeCluster(a=broken), notes)
    outcomes(executor, 3)
    assert executor.slots == 0
    assert notes == ["machine a is not used: the library needs avx512f"]


def test_tasks_that_nobody_has_begun_are_taken_back() -> None:
    a = machine(2)
    executor = executor_of(FakeCluster(a=a))
    executor.wait(0.0)
    a.silent, a.begun = True, 2
    for number in range(10):
        executor.submit(number)
    executor.wait(0.0)
    a.silent = False
    taken = executor.cancel()
    assert sorted(taken) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert sorted(outcome.task for outcome in outcomes(executor, 5)) == [0, 1]


def test_outcomes_are_handed_over_in_batches() -> None:
    many = MOST_OUTCOMES + 5
    executor = executor_of(FakeCluster(a=machine(many)))
    executor.wait(0.0)
    for number in range(many):
        executor.submit(number)
    first, second = executor.wait(0.0), executor.wait(0.0)
    assert (len(first), len(second)) == (MOST_OUTCOMES, 5)


def test_closing_ends_the_actors_and_leaves_the_cluster() -> None:
    cluster = FakeCluster(a=machine(), b=machine())
    executor = executor_of(cluster)
    executor.wait(0.0)
    executor.close()
    assert cluster.closed
    assert all(one.closed for one in cluster.machines.values())
    assert all(one.dead for one in cluster.machines.values())
