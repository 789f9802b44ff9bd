"""Worker processes start, or say why they cannot, and end with whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.search.executors.tasks import act, collect
from tests.search.fakes import alive, wait_until
from vkdnw.search.errors import ExecutorError
from vkdnw.search.executors import Done, ProcessPool


class CannotBeLoaded:
    """A function whose unpickling fails, as when the worker lacks a module."""

    def __reduce__(self) -> Any:
        return (int, ("not a number",))

    def __call__(self, task: Any) -> None: ...


class DiesWhenLoaded:
    def __reduce__(self) -> Any:
        return (os._exit, (7,))

    def __call__(self, task: Any) -> None: ...


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


def test_each_worker_may_have_a_function_of_its_own() -> None:
    found, deadline = set(), time.monotonic() + 60  # one may be ready much before the other
    with closing(ProcessPool([Bound("a"), Bound("b")])) as pool:
        while found != {"a", "b"} and time.monotonic() < deadline:
            pool.submit(0.05)
            pool.submit(0.05)
            found |= {outcome.result for outcome in collect(pool, 2) if isinstance(outcome, Done)}
    assert found == {"a", "b"}


class Bound:
    """A function bound to a device, say."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, seconds: float) -> str:
        time.sleep(seconds)
        return self.device


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


def test_closing_ends_a_worker_in_the_middle_of_a_task() -> None:
    pool = ProcessPool([act])
    pool.submit(("square", 1))
    collect(pool, 1)
    (pid,) = pool.pids
    pool.submit(("sleep", 1000))
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


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
from tests.search.executors.tasks import act, collect, submit
from vkdnw.search.executors import ProcessPool
pool = ProcessPool([act] * 2)
submit(pool, [("square", 0), ("square", 1)])
collect(pool, 2)
pool.submit(("sleep", 1000))
print(*pool.pids, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
