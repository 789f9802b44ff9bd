"""Every executor carries out each task once, whatever the order."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.search.executors.tasks import act, collect, submit
from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors import Done, Executor, Failed, InProcess, Outcome, ProcessPool
from vkdnw.search.executors.interface import outlives_its_task


@pytest.fixture(params=["in process", "one worker", "three workers"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor[Any, Any]]:
    made = {
        "in process": lambda: InProcess(act),
        "one worker": lambda: ProcessPool([act]),
        "three workers": lambda: ProcessPool([act] * 3),
    }[request.param]()
    with closing(made):
        yield made


def test_every_task_is_carried_out_once(executor: Executor[Any, Any]) -> None:
    tasks = [("square", n) for n in range(50)]
    submit(executor, tasks)
    outcomes = collect(executor, 50)
    assert sorted(outcomes, key=lambda o: o.task) == [Done(task, task[1] ** 2) for task in tasks]
    assert not executor.wait(0.1)


def test_a_task_that_raises_fails_with_its_reason_and_the_rest_go_on(
    executor: Executor[Any, Any],
) -> None:
    submit(executor, [("square", 1), ("raise", 2), ("square", 3)])
    outcomes = collect(executor, 3)
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, Failed))
    assert failed.task == ("raise", 2)
    assert failed.reason == "ValueError: number 2"
    assert "in act" in failed.details
    assert {outcome.task for outcome in outcomes if isinstance(outcome, Done)} == {
        ("square", 1),
        ("square", 3),
    }


def test_tasks_may_be_submitted_while_others_run(executor: Executor[Any, Any]) -> None:
    submit(executor, [("square", 1)])
    collect(executor, 1)
    submit(executor, [("square", 2)])
    assert collect(executor, 1) == [Done(("square", 2), 4)]


def test_cancel_gives_back_exactly_what_was_not_begun(executor: Executor[Any, Any]) -> None:
    submit(executor, [("square", n) for n in range(20)])
    outcomes: list[Outcome[Any, Any]] = []
    while not outcomes:
        outcomes += executor.wait(0.1)
    dropped = executor.cancel()
    outcomes += collect(executor, 20 - len(dropped) - len(outcomes))
    assert not executor.wait(0.1)
    assert sorted([*(o.task for o in outcomes), *dropped]) == [("square", n) for n in range(20)]


def test_waiting_with_nothing_in_flight_returns_at_once(executor: Executor[Any, Any]) -> None:
    begun = time.monotonic()
    assert not executor.wait(10.0)
    assert time.monotonic() - begun < 1.0


def test_a_gpu_error_in_this_process_ends_the_run_with_a_remedy() -> None:
    with closing(InProcess(act)) as executor:
        executor.submit(("gpu", 0))
        with pytest.raises(ExecutorError, match="one worker process or more"):
            executor.wait(0.1)


@pytest.mark.parametrize(
    ("error", "poisons"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (type("AcceleratorError", (RuntimeError,), {})("device-side assert"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA error: out of memory"), False),
        (ValueError("CUDA is not there"), False),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_which_errors_outlive_their_task(error: BaseException, poisons: bool) -> None:
    assert outlives_its_task(error) is poisons
