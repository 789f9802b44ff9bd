"""No damage to a state passes unseen: it is refused, or named and mended by the same command."""

import os
import random
import shutil
import sqlite3
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, rows
from vkdnw.search.enumeration import score_all
from vkdnw.search.errors import StateWarning, StoreError
from vkdnw.search.progress import Silent
from vkdnw.search.state.results import open_results
from vkdnw.search.state.rows import ARCHITECTURES, ARRAYS, EVALUATIONS
from vkdnw.search.state.store import open_store
from vkdnw.search.stop_signals import Interruption

STATE = "state.sqlite"
COUNT, LARGE = 20, 120
Rows = dict[tuple[str, int], tuple[str, ...]]


class Notes(Silent):
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def score(folder: Path, count: int = COUNT) -> list[str]:
    """Give the command, in this process; returns its notes."""
    progress = Notes()
    score_all(FakeRun(str(folder), count, workers=0).request(), progress, Interruption())
    return progress.notes


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    score(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> Rows:
    return rows(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def change(folder: Path, statement: str, *values: object) -> None:
    """Do something to the file that no command of ours does."""
    connection = sqlite3.connect(folder / STATE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def read_all(folder: Path) -> Rows:
    """The rows that readers show, after everything was read."""
    with open_results(folder) as results:
        results.tally()
        results.configuration()
    return rows(folder)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE scores SET value = value + 1e-15 WHERE network_id = 3", "scores"),
        ("UPDATE scores SET name = 'other' WHERE network_id = 3 AND seed = 1", "scores"),
        ("UPDATE arrays SET data = zeroblob(72) WHERE id = 5", "arrays"),
        ("UPDATE arrays SET name = 'deciler' WHERE id = 5", "arrays"),
        ("UPDATE evaluations SET seconds = 99.0 WHERE id = 4", "evaluations"),
        ("UPDATE networks SET network = 'net 1x' WHERE id = 2", "networks"),
        ("UPDATE architectures SET counts = '{}' WHERE id = 2", "architectures"),
        ("UPDATE asked SET names = '[]' WHERE architecture_id = 2", "asked"),
        ("UPDATE configuration SET value = '5' WHERE key = 'batch_size'", "configuration"),
        ("UPDATE ledger SET generation = 1", "ledger"),
        ("UPDATE sessions SET pid = 1", "sessions"),
        ("DELETE FROM arrays WHERE id = 7", "arrays has"),
        ("DELETE FROM scores WHERE network_id = 3", "scores has"),
        ("DELETE FROM evaluations WHERE id > 10", "evaluations has"),
        ("DELETE FROM networks WHERE id > 10", "networks has"),
    ],
)
def test_a_damaged_row_is_named_and_computed_again_by_the_same_command(
    copied: Path, undisturbed: Rows, statement: str, named: str
) -> None:
    change(copied, statement)
    if named not in ("ledger", "sessions"):
        with pytest.warns(StateWarning, match=named.split(maxsplit=1)[0]):
            assert read_all(copied).items() <= undisturbed.items()
    notes = score(copied)
    assert any(named in note for note in notes), notes
    assert any("kept as state.sqlite.damaged-1" in note for note in notes)
    assert rows(copied) == undisturbed
    assert score(copied) == []


def test_a_wrong_number_is_never_shown(copied: Path, undisturbed: Rows) -> None:
    change(copied, "UPDATE scores SET value = 0.5 WHERE network_id = 1")
    with pytest.warns(StateWarning, match=r"scores \(network_id 1, seed 0, name 'vkdnw'\)"):
        left = rows(copied)
    assert left.items() < undisturbed.items()


def test_no_flipped_byte_passes_unseen(tmp_path: Path) -> None:
    """Refused as damaged, or named and mended, or in a place that holds nothing."""
    draws = random.Random(0)
    score(tmp_path, LARGE)
    undisturbed, content = rows(tmp_path), (tmp_path / STATE).read_bytes()
    refused = mended = 0
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        place = draws.randrange(len(content))
        flipped = bytes([content[place] ^ (1 << draws.randrange(8))])
        (folder / STATE).write_bytes(content[:place] + flipped + content[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StateWarning)
            try:
                assert rows(folder).items() <= undisturbed.items()
                mended += bool(score(folder, LARGE))
            except StoreError:
                refused += 1
                continue
        assert rows(folder) == undisturbed
    assert refused + mended > 20


def test_text_that_is_no_utf_8_is_one_damaged_row(copied: Path, undisturbed: Rows) -> None:
    change(copied, "UPDATE failures SET reason = reason")
    change(copied, "UPDATE architectures SET architecture = CAST(x'ff' AS TEXT) WHERE id = 3")
    with pytest.warns(StateWarning, match="architectures"):
        assert len(rows(copied)) == len(undisturbed) - 2
    assert any("architectures" in note for note in score(copied))
    assert rows(copied) == undisturbed


# ---- files of strangers ----


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "CREATE TRIGGER trap AFTER INSERT ON evaluations BEGIN DELETE FROM scores; END",
            "unexpected trigger 'trap'",
        ),
        ("CREATE VIEW trap AS SELECT load_extension('x')", "unexpected view 'trap'"),
        ("CREATE TABLE trap (x)", "unexpected table 'trap'"),
        ("CREATE INDEX trap ON scores (value)", "unexpected index 'trap'"),
        ("DROP VIEW results", "missing or changed view 'results'"),
        ("ALTER TABLE scores ADD COLUMN x AS (abs(value))", "'scores'"),
    ],
)
def test_a_schema_that_is_not_ours_is_refused_by_name(
    copied: Path, statement: str, named: str
) -> None:
    change(copied, statement)
    before = (copied / STATE).read_bytes()
    for command in (rows, score):
        with pytest.raises(StoreError, match=f"is refused.*{named}"):
            command(copied)  # type: ignore[operator]
    assert (copied / STATE).read_bytes() == before


def forge(folder: Path, table: object, key: int, changed: Callable[[list[object]], None]) -> None:
    """Change a row and give it the right checksum, as someone who knows ours can."""
    connection = sqlite3.connect(folder / STATE)
    columns = list(table.columns)  # type: ignore[attr-defined]
    row = list(connection.execute(f"{table.select} WHERE id = {key}").fetchone()[:-1])  # type: ignore[attr-defined]
    changed(row)
    (sealed,) = table.sealed([tuple(row)])  # type: ignore[attr-defined]
    assigned = ", ".join(f"{column} = ?" for column in [*columns, "crc"])
    with connection:
        connection.execute(f"UPDATE {table.name} SET {assigned} WHERE id = {key}", sealed)  # type: ignore[attr-defined]
    connection.close()


def test_a_short_array_is_refused_by_name(copied: Path) -> None:
    def short(row: list[object]) -> None:
        row[3] = struct.pack("<3d", 1.0, 2.0, 3.0)

    forge(copied, ARRAYS, 1, short)
    with pytest.raises(StoreError, match="holds 3 deciles of 'arch 0'"):
        rows(copied)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}x", '{"layers": "many"}', "[1]"])
def test_json_that_cannot_be_read_is_refused_by_name(copied: Path, text: str) -> None:
    def deep(row: list[object]) -> None:
        row[3] = text

    forge(copied, ARCHITECTURES, 1, deep)
    with pytest.raises(StoreError, match=r"the counts of 'arch 0'"):
        rows(copied)


def test_a_value_of_another_type_is_a_damaged_row(copied: Path) -> None:
    def text(row: list[object]) -> None:
        row[5] = "soon"

    forge(copied, EVALUATIONS, 1, text)
    with pytest.warns(StateWarning, match="evaluations"):
        rows(copied)


def test_a_value_beyond_the_limit_is_refused_before_memory_is_spent(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copied, "UPDATE arrays SET data = zeroblob(3000000) WHERE id = 1")
    monkeypatch.setenv("VKDNW_LIMITS", "value-bytes=1M")
    for command in (rows, score):
        with pytest.raises(StoreError, match="--limit value-bytes=N"):
            command(copied)  # type: ignore[operator]


# ---- files that are no files ----


@pytest.mark.parametrize("name", ["runner.lock", STATE, f"{STATE}-wal", f"{STATE}-shm"])
@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, name: str, kind: str
) -> None:
    target = tmp_path / "target"
    folder = tmp_path / "run"
    folder.mkdir()
    if kind == "FIFO":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    elif name == STATE:
        pytest.skip("a state may lie elsewhere")
    else:
        target.write_text("mine")
        (folder / name).symlink_to(target)
    with pytest.raises(StoreError, match="not a regular file"), open_store(folder):
        pass
    assert not target.exists() or target.read_text() == "mine"


def test_a_draft_is_not_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / f"{STATE}.new").symlink_to(target)
    with open_store(folder):
        pass
    assert target.read_text() == "mine"
    assert not (folder / STATE).is_symlink()
