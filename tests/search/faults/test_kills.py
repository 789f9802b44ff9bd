"""Processes are killed at any moment: nothing scored is lost, and the end has the same bits."""

import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, alive, rows, wait_until
from tests.search.faults.running import (
    COUNT,
    EVERYTHING,
    TASKS,
    Rows,
    finish,
    scored,
    started,
    workers_of,
)
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import open_store


def test_the_undisturbed_run_is_complete(undisturbed: Rows) -> None:
    assert undisturbed.keys() == EVERYTHING
    assert len({row[-1] for row in undisturbed.values()}) == TASKS  # equal networks, equal bits


@pytest.mark.parametrize("workers", [1, 5])
def test_the_number_of_workers_does_not_change_a_bit(
    tmp_path: Path, undisturbed: object, workers: int
) -> None:
    finish(FakeRun(str(tmp_path), COUNT, workers=workers))
    assert rows(tmp_path) == undisturbed


def test_several_goes_come_to_the_same_as_one(tmp_path: Path, undisturbed: object) -> None:
    for count in range(COUNT // 4, COUNT + 1, COUNT // 4):
        finish(FakeRun(str(tmp_path), count, workers=0))
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_of_the_runner_at_random_moments(
    tmp_path: Path, undisturbed: object, seed: int
) -> None:
    moments = random.Random(seed)
    run = FakeRun(str(tmp_path), COUNT, seconds=0.03)
    kept: Rows = {}
    for _ in range(4):
        with started(run) as process:
            time.sleep(moments.uniform(0.1, 0.9))
            before = scored(tmp_path)
            workers = workers_of(process.pid) if process.poll() is None else []
            process.send_signal(signal.SIGKILL)
            process.wait()
            after = scored(tmp_path)
        assert kept.items() <= before.items() <= after.items()
        kept = after
        wait_until(lambda workers=workers: not any(alive(pid) for pid in workers))  # type: ignore[misc]
    finish(replace(run, seconds=0.0))
    assert kept.items() <= rows(tmp_path).items()
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("seed", range(2))
def test_kill_9_of_workers_at_random_moments(
    tmp_path: Path, undisturbed: object, seed: int
) -> None:
    moments = random.Random(seed)
    with started(FakeRun(str(tmp_path), COUNT, workers=3, seconds=0.03)) as process:
        for _ in range(6):
            time.sleep(moments.uniform(0.05, 0.25))
            workers = workers_of(process.pid)
            if workers:
                os.kill(moments.choice(workers), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert rows(tmp_path) == undisturbed


def test_a_network_that_kills_its_workers_is_recorded_and_may_be_scored_later(
    tmp_path: Path, undisturbed: object
) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "x").touch()
    run = FakeRun(str(tmp_path), COUNT, extra=("die:x", "raise:x"), faults=str(faults))
    finish(run)
    with open_results(tmp_path) as results:
        reasons = {failure.network: failure.reason for failure in results.tally().failures}
    assert reasons.keys() == {"die:x", "raise:x"}
    assert "4 workers lost" in reasons["die:x"]  # the last one alone
    assert "SIGKILL" in reasons["die:x"]
    assert reasons["raise:x"] == "ValueError: no score for raise:x"
    shutil.rmtree(faults)
    finish(run)
    with open_results(tmp_path) as results:
        assert results.tally().failures == ()
    healed = rows(tmp_path)
    assert {key: row for key, row in healed.items() if ":" not in key[0]} == undisturbed
    assert len(healed) == 2 * (COUNT + 2)


def test_two_runners_on_one_run(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, seconds=0.3)
    with started(run) as first:
        wait_until(lambda: scored(tmp_path))
        said = finish(run, code=1)
        assert f"{tmp_path} is in use by another runner, pid {first.pid};" in said
        before = len(scored(tmp_path))
        wait_until(lambda: len(scored(tmp_path)) > before)  # the first one works on
        first.kill()
        first.wait()
    finish(replace(run, seconds=0.0))
    assert rows(tmp_path) == undisturbed


def test_the_lock_of_a_killed_runner_is_gone_with_it(tmp_path: Path, undisturbed: object) -> None:
    run = FakeRun(str(tmp_path), COUNT, seconds=0.02)
    with started(run) as first:
        wait_until(lambda: scored(tmp_path))
        first.kill()
        first.wait()
        with open_store(tmp_path):
            pass
    finish(replace(run, seconds=0.0))
    assert rows(tmp_path) == undisturbed
