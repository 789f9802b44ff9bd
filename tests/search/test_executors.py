"""Every executor carries out each task once; a process pool survives the death of its workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import alive, wait_until
from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors import Done, Executor, Failed, InProcess, Lost, Outcome, ProcessPool
from vkdnw.search.executors.interface import outlives_its_task

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _workers_find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


def act(task: tuple[str, int]) -> int:
    """A task that does what it is told."""
    what, number = task
    if what == "raise":
        raise ValueError(f"number {number}\nand more")
    if what == "die":
        os.kill(os.getpid(), number)
    if what == "sleep":
        time.sleep(number)
    if what == "pid":
        return os.getpid()
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "gpu":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return number**2


def die(task: Any) -> None:
    os._exit(3)


class CannotBeLoaded:
    """A function whose unpickling fails, as when the worker lacks a module."""

    def __reduce__(self) -> Any:
        return (int, ("not a number",))

    def __call__(self, task: Any) -> None: ...


class DiesWhenLoaded:
    def __reduce__(self) -> Any:
        return (os._exit, (7,))

    def __call__(self, task: Any) -> None: ...


@pytest.fixture(params=["in process", "one worker", "three workers"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor[Any, Any]]:
    made = {
        "in process": lambda: InProcess(act),
        "one worker": lambda: ProcessPool([act]),
        "three workers": lambda: ProcessPool([act] * 3),
    }[request.param]()
    with closing(made):
        yield made


def collect(
    executor: Executor[Any, Any], count: int, seconds: float = 30.0
) -> list[Outcome[Any, Any]]:
    """The next `count` outcomes."""
    outcomes: list[Outcome[Any, Any]] = []
    deadline = time.monotonic() + seconds
    while len(outcomes) < count and time.monotonic() < deadline:
        outcomes += executor.wait(0.1)
    assert len(outcomes) == count
    return outcomes


def submit(executor: Executor[Any, Any], tasks: Sequence[tuple[str, int]]) -> None:
    for task in tasks:
        executor.submit(task)


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


def test_closing_ends_a_worker_in_the_middle_of_a_task() -> None:
    pool = ProcessPool([act])
    pool.submit(("square", 1))
    collect(pool, 1)
    (pid,) = pool.pids
    pool.submit(("sleep", 1000))
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_function_that_cannot_be_loaded_in_a_worker_is_an_error_with_the_cause() -> None:
    with closing(ProcessPool([CannotBeLoaded()])) as pool:
        pool.submit(0)
        with pytest.raises(ExecutorError, match="cannot start: ValueError: invalid literal"):
            collect(pool, 1)


def test_workers_that_die_at_the_start_are_not_started_forever() -> None:
    with closing(ProcessPool([DiesWhenLoaded()])) as pool:
        pool.submit(0)
        with pytest.raises(ExecutorError, match=r"10 in a row.*status 7"):
            collect(pool, 1)


def test_a_result_that_cannot_be_sent_fails_its_task() -> None:
    with closing(ProcessPool([make_unpicklable])) as pool:
        pool.submit(0)
        (outcome,) = collect(pool, 1)
        assert isinstance(outcome, Failed)
        assert "cannot be sent" in outcome.reason


def make_unpicklable(task: int) -> Any:
    return lambda: task


def test_each_worker_may_have_a_function_of_its_own() -> None:
    with closing(ProcessPool([Bound("a"), Bound("b")])) as pool:
        for _ in range(8):
            pool.submit(0.05)
        outcomes = collect(pool, 8)
    assert {outcome.result for outcome in outcomes if isinstance(outcome, Done)} == {"a", "b"}


class Bound:
    """A function bound to a device, say."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, seconds: float) -> str:
        time.sleep(seconds)
        return self.device


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


class DiesAtTheStartWhere:
    """A function whose unpickling kills its process while a file is there."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (die_where, (self.file,))

    def __call__(self, task: Any) -> Any:
        return act(task)


def die_where(file: Path) -> Any:
    if file.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return act


def test_workers_killed_while_they_start_do_not_end_a_run_in_which_others_work(
    tmp_path: Path,
) -> None:
    """After growing pauses it is tried again; then the place works too."""
    file, notes = tmp_path / "no memory", []
    file.touch()
    with closing(ProcessPool([act, DiesAtTheStartWhere(file)], note=notes.append)) as pool:
        for number in range(400):
            pool.submit(("square", number))
            pool.wait(0.1)
            if notes:
                break
            time.sleep(0.05)
        assert "trying again in 4 s" in notes[0]
        assert "SIGKILL" in notes[0]
        assert len(pool.pids) == 1
        file.unlink()
        pool.submit(("sleep", 5))
        wait_until(lambda: pool.wait(0.1) is not None and len(pool.pids) == 2)


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        ProcessPool([])


def test_workers_leave_when_the_parent_is_killed() -> None:
    """Busy or idle: nobody would take their results."""
    parent = subprocess.run(
        [sys.executable, "-c", PARENT, json.dumps(sys.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pids = [int(pid) for pid in parent.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: not any(alive(pid) for pid in pids))


PARENT = """
import json, os, signal, sys
sys.path[:] = json.loads(sys.argv[1])
from tests.search.test_executors import ProcessPool, act, collect, submit
pool = ProcessPool([act] * 2)
submit(pool, [("square", 0), ("square", 1)])
collect(pool, 2)
pool.submit(("sleep", 1000))
print(*pool.pids, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
