"""A state and its journal: written back at short intervals, and missed where it is gone."""

import shutil
import time
from pathlib import Path

import pytest

from tests.search.state.test_damage import score
from tests.search.state.test_store import begun, scored
from vkdnw.search.errors import StateWarning, StoreError
from vkdnw.search.state import store as store_module
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import open_store
from vkdnw.search.tasks import Task

STATE, JOURNAL, LOCK = "state.sqlite", "state.sqlite-wal", "runner.lock"


def copy(folder: Path, target: Path, *names: str) -> Path:
    """Copy files of a run, as a backup would while it is going on."""
    target.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(folder / name, target / name)
    return target


def count(folder: Path) -> int:
    with open_results(folder) as results:
        return len(results.evaluations())


def test_a_database_alone_has_what_was_recorded_a_short_while_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_SECONDS", 0.05)
    with begun(tmp_path / "run") as store:
        store.record([(Task("a", 0), scored())])
        time.sleep(0.06)
        store.tend()
        with pytest.warns(StateWarning, match="its journal state.sqlite-wal is gone"):
            assert count(copy(tmp_path / "run", tmp_path / "copy", STATE)) == 2


def test_a_closed_run_has_no_journal(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        store.record([(Task("a", 0), scored())])
    assert {file.name for file in (tmp_path / "run").iterdir()} == {STATE, "runner.lock"}
    assert count(copy(tmp_path / "run", tmp_path / "copy", STATE)) == 2


def test_an_error_closes_the_run_as_well(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        record_and_fail(tmp_path / "run")
    assert not (tmp_path / "run" / JOURNAL).exists()
    assert count(tmp_path / "run") == 2


def record_and_fail(folder: Path) -> None:
    with begun(folder) as store:
        store.record([(Task("a", 0), scored())])
        raise ZeroDivisionError


def test_a_copy_of_database_and_journal_is_whole(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        store.record([(Task("a", 0), scored())])
        assert count(copy(tmp_path / "run", tmp_path / "copy", STATE, JOURNAL)) == 2


def test_a_journal_that_is_gone_is_said_and_its_results_are_computed_again(
    tmp_path: Path,
) -> None:
    with begun(tmp_path / "run") as store:
        store.record([(Task("a", 0), scored())])
        killed = copy(tmp_path / "run", tmp_path / "copy", STATE, LOCK)
    with pytest.warns(StateWarning, match="its journal state.sqlite-wal is gone, or an older copy"):
        assert count(killed) == 0
    with begun(killed) as store:
        assert any("is gone" in note for note in store.notes)
        store.record([(Task("a", 0), scored())])
    with open_store(killed) as store:
        assert store.notes == ()


def test_an_older_copy_that_is_put_back_is_said(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        store.record([(Task("a", 0), scored())])
    copy(tmp_path / "run", tmp_path / "backup", STATE)
    with begun(tmp_path / "run") as store:
        store.record([(Task("c", 0), scored())])
    copy(tmp_path / "backup", tmp_path / "run", STATE)
    with pytest.warns(StateWarning, match=r"at commit \d+ of the \d+ that were made here"):
        assert count(tmp_path / "run") == 2


def test_a_backup_beside_a_later_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with begun(run) as store:
        store.record([(Task("a", 0), scored())])
    backup = copy(run, tmp_path / "backup", STATE)
    with begun(run) as store:
        store.record([(Task("a", 1), scored())])
    with begun(run) as store:
        store.record([(Task("c", 0), scored())])
        killed = copy(run, tmp_path / "killed", STATE, JOURNAL)
    shutil.copy(backup / STATE, killed / STATE)
    before = {file.name: file.read_bytes() for file in killed.iterdir()}
    with pytest.raises(StoreError, match=r"do not belong together.*move state\.sqlite-wal"):
        count(killed)
    with pytest.raises(StoreError, match="do not belong together"), open_store(killed):
        pass
    assert {name: (killed / name).read_bytes() for name in before} == before
    (killed / JOURNAL).unlink()
    (killed / f"{STATE}-shm").unlink(missing_ok=True)
    assert count(killed) == 2


def test_the_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with begun(tmp_path / name) as store:
            store.record([(Task("a", 0), scored())])
    with begun(tmp_path / "two") as store:
        store.record([(Task("c", 0), scored())])
        mixed = copy(tmp_path / "two", tmp_path / "mixed", JOURNAL)
    copy(tmp_path / "one", mixed, STATE)
    with pytest.raises(StoreError, match="do not belong together"):
        count(mixed)


def test_readers_see_no_trouble_while_a_writer_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "CHECKPOINT_SECONDS", 0.0)
    score(tmp_path, 3)
    with open_store(tmp_path) as store:
        store.begin({"batch_size": 4, "dtype": "float32"}, {}, {})
        for number in range(30):
            store.record([(Task("net 0", 100 + number), scored())])
            assert count(tmp_path) == 6
