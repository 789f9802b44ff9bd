"""A process pool survives the death of its workers, and names the cause of each."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.search.executors.tasks import act, collect, submit
from tests.search.fakes import alive, wait_until
from vkdnw.search.executors import Done, Failed, Lost, ProcessPool


def die(task: Any) -> None:
    os._exit(3)


def test_a_killed_worker_costs_its_own_task_only() -> None:
    tasks = [("die", signal.SIGKILL), *(("square", n) for n in range(20))]
    with closing(ProcessPool([act] * 2)) as pool:
        submit(pool, tasks)
        outcomes = collect(pool, 21)
        assert pool.slots == 2
    (lost,) = (outcome for outcome in outcomes if isinstance(outcome, Lost))
    assert lost.task == ("die", signal.SIGKILL)
    assert "SIGKILL" in lost.reason
    assert len([outcome for outcome in outcomes if isinstance(outcome, Done)]) == 20


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGKILL])
def test_a_lost_worker_says_which_signal_took_it(number: signal.Signals) -> None:
    with closing(ProcessPool([act])) as pool:
        pool.submit(("die", number))
        (outcome,) = collect(pool, 1)
    assert isinstance(outcome, Lost)
    assert number.name in outcome.reason


def test_a_worker_that_exits_is_lost_with_its_status() -> None:
    with closing(ProcessPool([die])) as pool:
        pool.submit(("any", 0))
        (outcome,) = collect(pool, 1)
    assert isinstance(outcome, Lost)
    assert "status 3" in outcome.reason


def test_a_worker_killed_while_idle_is_replaced_and_no_task_is_lost() -> None:
    with closing(ProcessPool([act])) as pool:
        pool.submit(("square", 1))
        collect(pool, 1)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid))
        time.sleep(0.2)  # its socket closes a moment after
        pool.submit(("square", 2))
        assert collect(pool, 1) == [Done(("square", 2), 4)]


def test_workers_ignore_ctrl_c() -> None:
    with closing(ProcessPool([act])) as pool:
        pool.submit(("square", 1))
        collect(pool, 1)
        pool.submit(("sleep", 1))
        os.kill(pool.pids[0], signal.SIGINT)
        assert isinstance(collect(pool, 1)[0], Done)


def test_a_result_that_cannot_be_sent_fails_its_task() -> None:
    with closing(ProcessPool([make_unpicklable])) as pool:
        pool.submit(0)
        (outcome,) = collect(pool, 1)
        assert isinstance(outcome, Failed)
        assert "cannot be sent" in outcome.reason


def make_unpicklable(task: int) -> Any:
    return lambda: task


def test_a_task_that_takes_too_long_fails_and_its_worker_is_replaced() -> None:
    with closing(ProcessPool([act] * 2, task_timeout=1.0)) as pool:
        submit(pool, [("sleep", 1000), ("square", 2)])
        outcomes = collect(pool, 2)
        pool.submit(("square", 3))
        assert collect(pool, 1) == [Done(("square", 3), 9)]
    assert outcomes[0] == Done(("square", 2), 4)
    assert isinstance(outcomes[1], Failed)
    assert "it took more than 1 s (the task timeout)" in outcomes[1].reason


def test_a_worker_that_is_stopped_for_good_is_noticed() -> None:
    with closing(ProcessPool([act], stopped_timeout=0.5)) as pool:
        submit(pool, [("stop", 0), ("square", 2)])
        lost, done = collect(pool, 2)
    assert isinstance(lost, Lost)
    assert lost.blame == "system"
    assert "stopped and not continued within 0.5 s" in lost.reason
    assert done == Done(("square", 2), 4)


def test_a_worker_that_is_stopped_for_a_moment_is_waited_for() -> None:
    with closing(ProcessPool([act], stopped_timeout=30.0)) as pool:
        pool.submit(("stop", 3))
        (pid,) = pool.pids
        wait_until(lambda: not pool.wait(0.05) and stopped(pid))
        os.kill(pid, signal.SIGCONT)
        assert collect(pool, 1) == [Done(("stop", 3), 9)]


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("number", "blame"),
    [(signal.SIGKILL, "system"), (signal.SIGSEGV, "worker"), (signal.SIGABRT, "worker")],
)
def test_a_loss_says_whether_the_task_may_have_caused_it(
    number: signal.Signals, blame: str
) -> None:
    with closing(ProcessPool([act])) as pool:
        pool.submit(("die", number))
        (outcome,) = collect(pool, 1)
    assert isinstance(outcome, Lost)
    assert outcome.blame == blame


def test_a_gpu_error_that_outlives_its_task_ends_the_worker_and_no_other_task() -> None:
    with closing(ProcessPool([act])) as pool:
        pool.submit(("pid", 0))
        (before,) = collect(pool, 1)
        submit(pool, [("gpu", 0), *(("square", n) for n in range(5)), ("pid", 1)])
        outcomes = collect(pool, 7)
    (lost,) = (outcome for outcome in outcomes if isinstance(outcome, Lost))
    assert lost.task == ("gpu", 0)
    assert lost.blame == "worker"
    assert "the GPU cannot be used" in lost.reason
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert len(done) == 6
    assert isinstance(before, Done)
    assert done[-1].result != before.result
