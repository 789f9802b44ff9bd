"""The remaining time: without start-up, and right where tasks cost differently."""

import pytest

from tests.search.clock import Clock
from vkdnw.search import time_remaining as module
from vkdnw.search.proxy_costs import RELATIVE_COSTS
from vkdnw.search.tasks import Failure, Scored, Task
from vkdnw.search.time_remaining import Remaining

CHEAP, DEAR = ("synflow",), ("vkdnw",)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_start_up_does_not_count(clock: Clock) -> None:
    remaining = Remaining({DEAR: 10})
    assert not remaining.known
    clock.now += 300  # workers load torch
    for _ in range(5):
        clock.now += 2
        remaining.took(DEAR, 2.0)
    assert remaining.rate == pytest.approx(0.5)
    assert remaining.seconds == pytest.approx(5 * 2.0)


def test_two_workers_take_half_as_long(clock: Clock) -> None:
    remaining = Remaining({DEAR: 20})
    for _ in range(5):
        clock.now += 2
        remaining.took(DEAR, 2.0)
        remaining.took(DEAR, 2.0)
    assert remaining.seconds == pytest.approx(10 * 2.0 / 2)


def test_each_kind_of_task_is_measured_apart(clock: Clock) -> None:
    """Cheap ones come first here: at their rate the rest would seem to be done in 10 s."""
    remaining = Remaining({CHEAP: 10, DEAR: 100})
    for _ in range(10):
        clock.now += 0.1
        remaining.took(CHEAP, 0.1)
    dearer = RELATIVE_COSTS["vkdnw"] / RELATIVE_COSTS["synflow"]
    assert remaining.seconds == pytest.approx(100 * 0.1 * dearer)
    clock.now += 3
    remaining.took(DEAR, 3.0)
    assert remaining.seconds == pytest.approx(99 * 3.0)


def test_failures_are_not_left_and_tell_no_time(clock: Clock) -> None:
    remaining = Remaining({DEAR: 3})
    remaining.failed(DEAR)
    assert not remaining.known
    clock.now += 2
    remaining.took(DEAR, 2.0)
    assert remaining.seconds == pytest.approx(2.0)


def test_results_of_tasks_are_taken_as_times_and_failures(clock: Clock) -> None:
    remaining = Remaining({DEAR: 4})
    clock.now += 5
    remaining.observe(Task("a", 0, DEAR), Scored({}, "2026-01-01", seconds=5.0))
    remaining.observe(Task("b", 0, DEAR), Failure("no room"))
    assert remaining.seconds == pytest.approx(2 * 5.0)
