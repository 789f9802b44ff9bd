"""Tasks that a worker is given together have the outcomes that each has alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.search.executors.tasks import act, collect, submit
from vkdnw.search.executors import Done, Executor, Failed, InProcess, Lost, ProcessPool

Acted = tuple[str, int]


@dataclass(frozen=True)
class Acting:
    """`act`, of up to so many tasks together; a task may do otherwise in company."""

    at_once: int = 4

    def __call__(self, task: Acted) -> int:
        what, _ = task
        return 1 if what in ("company", "dies in company", "fails in company") else act(task)

    def together(self, tasks: Sequence[Acted]) -> list[int | None]:
        kinds = {what for what, _ in tasks}
        if "dies in company" in kinds:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "fails in company" in kinds:
            raise ValueError("a launch for all failed")
        found: list[int | None] = []
        for task in tasks:
            what, _ = task
            if what == "company":
                found.append(len(tasks))
            else:
                found.append(None if what in ("raise", "gpu") else act(task))
        return found


@pytest.fixture(params=["in process", "one worker", "two workers"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor[Any, Any]]:
    made = {
        "in process": lambda: InProcess(Acting()),
        "one worker": lambda: ProcessPool([Acting()]),
        "two workers": lambda: ProcessPool([Acting()] * 2),
    }[request.param]()
    with closing(made):
        yield made


def results(outcomes: Sequence[Any]) -> dict[Acted, int]:
    return {one.task: one.result for one in outcomes if isinstance(one, Done)}


def test_every_task_has_the_outcome_that_it_has_alone(executor: Executor[Any, Any]) -> None:
    tasks = [("raise" if n == 7 else "square", n) for n in range(30)]
    submit(executor, tasks)
    outcomes = collect(executor, 30)
    assert results(outcomes) == {("square", n): n**2 for n in range(30) if n != 7}
    (failed,) = (one for one in outcomes if isinstance(one, Failed))
    assert (failed.task, failed.reason) == (("raise", 7), "ValueError: number 7")
    assert "in act" in failed.details


def test_a_failure_in_company_is_tried_alone(executor: Executor[Any, Any]) -> None:
    tasks = [("fails in company", 0), *(("company", n) for n in range(1, 4))]
    submit(executor, tasks)
    assert set(results(collect(executor, 4))) == set(tasks)


def test_slots_count_all_tasks_that_are_worked_on() -> None:
    with closing(ProcessPool([Acting(4), Acting(4), act])) as pool:
        assert pool.slots == 9
    with closing(InProcess(Acting(3))) as here:
        assert here.slots == 3


def test_a_worker_is_given_as_many_as_it_takes() -> None:
    with closing(ProcessPool([Acting(4)])) as pool:
        submit(pool, [("company", n) for n in range(9)])
        sizes = sorted(results(collect(pool, 9)).values())
    assert sizes == [1, 4, 4, 4, 4, 4, 4, 4, 4]


def test_idle_workers_share_what_there_is() -> None:
    with closing(ProcessPool([Acting(4)] * 2)) as pool:
        for place, child in pool._present:
            assert child.connection.poll(30.0)
            pool._listen(place, child)  # it is ready
        pool._queue.extend(("company", n) for n in range(4))
        assert set(results(collect(pool, 4)).values()) == {2}


def test_a_death_in_company_costs_no_task() -> None:
    tasks = [("dies in company", 0), *(("company", n) for n in range(3))]
    with closing(ProcessPool([Acting()])) as pool:
        pool._queue.extend(tasks)
        assert results(collect(pool, 4)) == dict.fromkeys(tasks, 1)


def test_the_task_that_kills_its_worker_is_found() -> None:
    tasks = [("square", n) for n in range(7)]
    with closing(ProcessPool([Acting()] * 2)) as pool:
        submit(pool, [*tasks[:3], ("die", signal.SIGSEGV), *tasks[3:]])
        outcomes = collect(pool, 8)
        assert pool.slots == 8
    assert set(results(outcomes)) == set(tasks)
    (lost,) = (one for one in outcomes if isinstance(one, Lost))
    assert lost.task == ("die", signal.SIGSEGV)
    assert "SIGSEGV" in lost.reason
    assert lost.blame == "worker"


def test_a_gpu_error_that_stays_is_blamed_on_the_task_that_has_it_alone() -> None:
    tasks = [("square", n) for n in range(3)]
    with closing(ProcessPool([Acting()])) as pool:
        pool._queue.extend([*tasks, ("gpu", 0)])
        outcomes = collect(pool, 4)
        pool.submit(("square", 5))
        assert results(collect(pool, 1)) == {("square", 5): 25}
    assert set(results(outcomes)) == set(tasks)
    (lost,) = (one for one in outcomes if isinstance(one, Lost))
    assert lost.task == ("gpu", 0)


def test_the_task_that_takes_too_long_is_found() -> None:
    tasks = [("square", n) for n in range(3)]
    with closing(ProcessPool([Acting()], task_timeout=1.0)) as pool:
        pool._queue.extend([("sleep", 1000), *tasks])
        outcomes = collect(pool, 4)
    assert set(results(outcomes)) == set(tasks)
    (failed,) = (one for one in outcomes if isinstance(one, Failed))
    assert failed.task == ("sleep", 1000)
    assert "it took more than 1 s (the task timeout)" in failed.reason


def test_results_that_cannot_be_sent_fail_their_tasks_only() -> None:
    with closing(ProcessPool([Unsendable()])) as pool:
        pool._queue.extend([("any", n) for n in range(3)])
        outcomes = collect(pool, 3)
    (failed,) = (one for one in outcomes if isinstance(one, Failed))
    assert failed.task == ("any", 1)
    assert "cannot be sent" in failed.reason


@dataclass(frozen=True)
class Unsendable:
    """One of its results cannot be pickled."""

    at_once: int = 3

    def __call__(self, task: Acted) -> Any:
        return (lambda: task) if task[1] == 1 else 0

    def together(self, tasks: Sequence[Acted]) -> list[Any]:
        return [self(task) for task in tasks]


def test_cancel_gives_back_what_no_worker_has() -> None:
    with closing(ProcessPool([Acting(2)])) as pool:
        submit(pool, [("company", n) for n in range(20)])
        outcomes = list(pool.wait(5.0))
        dropped = pool.cancel()
        left = 20 - len(dropped) - len(outcomes)
        outcomes += collect(pool, left)
        assert sorted([*(one.task for one in outcomes), *dropped]) == [
            ("company", n) for n in range(20)
        ]
