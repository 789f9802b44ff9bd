"""Ctrl-C, signals that end a process, and workers that hang: finished results are kept."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, alive, rows, wait_until
from tests.search.faults.running import (
    COUNT,
    EVERYTHING,
    finish,
    scored,
    started,
    workers_of,
)
from vkdnw.search.state.results import open_results


@pytest.mark.parametrize(
    ("workers", "number", "code"),
    [
        (0, signal.SIGINT, 130),
        (2, signal.SIGINT, 130),
        (2, signal.SIGTERM, 143),
        (2, signal.SIGHUP, 129),
        (2, signal.SIGQUIT, 131),
    ],
)
def test_an_interrupt_leaves_a_run_that_goes_on(
    tmp_path: Path, undisturbed: object, workers: int, number: signal.Signals, code: int
) -> None:
    """The signal goes to every process of the session, as Ctrl-C at a terminal does."""
    run = FakeRun(str(tmp_path), COUNT, workers=workers, seconds=0.5)
    with started(run) as process:
        wait_until(lambda: scored(tmp_path))
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert "give the same command" in said
    assert "Traceback" not in said
    assert "was lost" not in said
    kept = scored(tmp_path)
    assert 0 < len(kept) < len(EVERYTHING)
    finish(replace(run, seconds=0.0))
    assert kept.items() <= rows(tmp_path).items()
    assert rows(tmp_path) == undisturbed


def test_a_network_that_hangs_is_named_and_the_run_goes_on(
    tmp_path: Path, undisturbed: object
) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "x").touch()
    run = FakeRun(
        str(tmp_path), COUNT, extra=("hang:x",), faults=str(faults), task_timeout=1.0, workers=3
    )
    finish(run)
    with open_results(tmp_path) as results:
        reasons = {failure.network: failure.reason for failure in results.tally().failures}
    assert reasons == {"hang:x": "it took more than 1 s (the task timeout); its worker was ended"}
    assert rows(tmp_path) == undisturbed


def test_a_run_whose_terminal_ignores_hangups_goes_on(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, workers=2, seconds=0.02)
    command = ["nohup", *run.command]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_until(lambda: scored(tmp_path))
        os.kill(process.pid, signal.SIGHUP)
        assert process.wait(60) == 0
    assert rows(tmp_path) == undisturbed


def hanging(tmp_path: Path, grace: float) -> FakeRun:
    (tmp_path / "x").touch()
    extra = ("hang:x", "hang:x and y")
    (tmp_path / "x and y").touch()
    return FakeRun(str(tmp_path), 3, extra=extra, faults=str(tmp_path), grace=grace)


def test_an_interrupt_does_not_wait_forever_for_a_worker_that_hangs(tmp_path: Path) -> None:
    with started(hanging(tmp_path, grace=0.5)) as process:
        wait_until(lambda: len(scored(tmp_path)) >= 3)
        workers = workers_of(process.pid)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130, said
    assert not any(alive(pid) for pid in workers)
    assert len(scored(tmp_path)) >= 3


def test_a_second_interrupt_does_not_wait_at_all(tmp_path: Path) -> None:
    with started(hanging(tmp_path, grace=1000.0)) as process:
        wait_until(lambda: len(scored(tmp_path)) >= 3)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert len(scored(tmp_path)) >= 3
