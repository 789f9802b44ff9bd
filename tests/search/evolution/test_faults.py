"""Whatever happens to a search, it goes on to the same networks and values, to the last bit.

As in the fault tests of an enumeration: something is done to a search in a process of its own, the
same command is given again, and the record is compared with that of a search that nothing happened
to. One network in eight fails as if memory ran out, so failures are part of every record.
"""

import os
import random
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.search.evolution.fakes import FakeSearch, record
from tests.search.fakes import wait_until
from tests.search.faults.running import finish, started, workers_of
from vkdnw.search.errors import StoreError

Record = tuple[list[tuple[str, ...]], dict[str, str]]

STRATEGIES: dict[str, dict[str, Any]] = {
    "evolution": {},
    "ageing": {"strategy": "ageing", "population": 8},
    "random": {"strategy": "random"},
    "pareto": {"pareto": "flops"},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of a search that is not disturbed: one process, one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    FakeSearch(str(folder)).run_here()
    return record(folder)


def children_of(folder: Path) -> list[tuple[str, ...]]:
    """The children on record, possibly none yet."""
    try:
        return record(folder)[0]
    except StoreError:
        return []


def test_the_undisturbed_search_has_children_and_failures(undisturbed: Record) -> None:
    children, failures = undisturbed
    assert len(children) + len(failures) == 60
    assert len(children) > 40
    assert failures
    assert all(reason.startswith("MemoryError: no room") for reason in failures.values())


@pytest.mark.parametrize("plan", STRATEGIES.values(), ids=STRATEGIES)
def test_the_number_of_workers_does_not_change_a_bit(tmp_path: Path, plan: dict[str, Any]) -> None:
    one, three = tmp_path / "one", tmp_path / "three"
    FakeSearch(str(one), plan=plan).run_here()
    finish(FakeSearch(str(three), workers=3, plan=plan))
    assert record(one) == record(three)


def test_kill_9_of_the_runner_at_random_moments(tmp_path: Path, undisturbed: Record) -> None:
    moments = random.Random(0)
    search = FakeSearch(str(tmp_path), workers=2, seconds=0.03)
    for _ in range(3):
        with started(search) as process:
            before = len(children_of(tmp_path))
            wait_until(lambda before=before: len(children_of(tmp_path)) > before)  # type: ignore[misc]
            time.sleep(moments.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
        kept = children_of(tmp_path)
        assert set(kept) <= set(undisturbed[0])
    replace(search, seconds=0.0, workers=0).run_here()
    assert record(tmp_path) == undisturbed


def test_kill_9_of_workers_at_random_moments(tmp_path: Path, undisturbed: Record) -> None:
    moments = random.Random(1)
    search = FakeSearch(str(tmp_path), workers=3, seconds=0.03)
    with started(search) as process:
        wait_until(lambda: children_of(tmp_path))
        for _ in range(3):
            time.sleep(moments.uniform(0.05, 0.2))
            workers = workers_of(process.pid)
            if workers:
                os.kill(moments.choice(workers), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert record(tmp_path) == undisturbed


def test_a_full_disk(tmp_path: Path, undisturbed: Record) -> None:
    said = finish(FakeSearch(str(tmp_path), file_limit=140_000), code=1)
    assert "finished results are safe" in said
    assert 0 < len(children_of(tmp_path)) < len(undisturbed[0])
    FakeSearch(str(tmp_path)).run_here()
    assert record(tmp_path) == undisturbed


def test_what_fails_for_want_of_memory_is_tried_again_and_changes_nothing(
    tmp_path: Path, undisturbed: Record
) -> None:
    """No child is bred without the network that is waited for."""
    file = tmp_path / "memory is short"
    file.touch()
    search = FakeSearch(str(tmp_path), workers=2, out_of_memory=str(file))
    said = finish(search, code=1)
    assert "failed for a reason of this machine (4 workers lost" in said
    assert "Give the same command again" in said
    children, failures = record(tmp_path)
    assert set(children) < set(undisturbed[0])
    assert any("SIGKILL" in reason for reason in failures.values())
    file.unlink()
    finish(search)
    assert record(tmp_path) == undisturbed


@pytest.mark.parametrize("table", ["architectures", "asked", "networks", "scores", "evaluations"])
def test_a_damaged_row_of_a_search_is_computed_again(
    tmp_path: Path, undisturbed: Record, table: str
) -> None:
    FakeSearch(str(tmp_path)).run_here()
    connection = sqlite3.connect(tmp_path / "state.sqlite")
    with connection:
        connection.execute(f"UPDATE {table} SET crc = crc + 1 WHERE crc % 7 = 0")
    connection.close()
    FakeSearch(str(tmp_path)).run_here()
    children, failures = record(tmp_path)
    assert sorted(children) == sorted(undisturbed[0])
    assert failures == undisturbed[1]


def test_two_runners_on_one_search(tmp_path: Path, undisturbed: Record) -> None:
    search = FakeSearch(str(tmp_path), workers=1, seconds=1.0)  # a minute: it outlasts the test
    with started(search) as first:
        wait_until(lambda: children_of(tmp_path))
        said = finish(search, code=1)
        assert f"{tmp_path} is in use by another runner, pid {first.pid};" in said
        before = len(children_of(tmp_path))
        wait_until(lambda: len(children_of(tmp_path)) > before)  # the first one works on
    FakeSearch(str(tmp_path)).run_here()
    assert record(tmp_path) == undisturbed


def test_an_interrupt_leaves_a_search_that_goes_on(tmp_path: Path, undisturbed: Record) -> None:
    search = FakeSearch(str(tmp_path), workers=2, seconds=0.5)
    with started(search) as process:
        wait_until(lambda: children_of(tmp_path))
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "give the same command" in said
    assert 0 < len(children_of(tmp_path)) < len(undisturbed[0])
    FakeSearch(str(tmp_path)).run_here()
    assert record(tmp_path) == undisturbed


def test_several_goes_come_to_the_same_as_one(tmp_path: Path, undisturbed: Record) -> None:
    for evaluations in (1, 15, 40, 60):
        FakeSearch(str(tmp_path), plan={"evaluations": evaluations}).run_here()
    assert record(tmp_path) == undisturbed


def test_another_plan_on_the_same_run_is_refused(tmp_path: Path) -> None:
    FakeSearch(str(tmp_path), plan={"evaluations": 2}).run_here()
    said = finish(FakeSearch(str(tmp_path), plan={"population": 13}), code=1)
    assert "population: stored 12, asked 13" in said
