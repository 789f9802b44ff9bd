"""Tables from elsewhere: limits told before memory is spent, no formula written, none changed."""

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vkdnw.search.errors import FileError
from vkdnw.search.rankings import exported_scores
from vkdnw.search.rankings.metrics import agreement, ndcg
from vkdnw.search.rankings.spreadsheet import quoted, unquoted
from vkdnw.search.rankings.table_files import TableError, read_table
from vkdnw.search.tasks import Evaluation

HOSTILE = ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(1)", "'=1", "''", "\t=1", "plain", "a=b"]


def evaluations(names: list[str]) -> list[Evaluation]:
    return [Evaluation(name, name, 0, {"=value": -1.5, "vkdnw": -2.5}, (), 0.0) for name in names]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize("limit", ["table-bytes=1K", "table-columns=3"])
def test_tables_beyond_a_limit_are_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    table = pd.DataFrame({column: np.zeros(2000) for column in "abcd"})
    path = tmp_path / name
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    assert len(read_table(path)) == 2000
    monkeypatch.setenv("VKDNW_LIMITS", limit)
    with pytest.raises(TableError, match=rf"{name}.*--limit {limit.partition('=')[0]}=N"):
        read_table(path)


def test_a_bomb_of_zeros_costs_no_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"arch,a\n" + bytes(50 * 2**20)))
    monkeypatch.setenv("VKDNW_LIMITS", "table-bytes=1M")
    with pytest.raises(TableError, match="decompressed size is more than"):
        read_table(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(TableError, match="not a regular file"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_no_cell_of_a_written_table_is_a_formula_and_names_come_back(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    exported_scores.write(path, evaluations(HOSTILE))
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    for text in [*cells.columns, *cells["arch"]]:
        assert not text.startswith(("=", "+", "-", "@", "\t"))
    again = exported_scores.read(path)
    assert {one.architecture for one in again} == set(HOSTILE)
    for one in again:
        assert dict(one.values) == {"=value": -1.5, "vkdnw": -2.5}


@pytest.mark.parametrize("text", [*HOSTILE, "", "'", "'a"])
def test_quoting_is_undone(text: str) -> None:
    assert unquoted(quoted(text)) == text


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    exported_scores.write(path, evaluations(["a"]))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="there are no scores"):
        exported_scores.write(path, [])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_a_table_is_not_written_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target.csv"
    target.write_text("mine")
    (tmp_path / "t.csv").symlink_to(target)
    with pytest.raises(FileError, match="is a symbolic link"):
        exported_scores.write(tmp_path / "t.csv", evaluations(["a"]))
    assert target.read_text() == "mine"


@pytest.mark.parametrize("accuracies", [[0.0, 0.0, 0.0], [70.0, 70.0, 70.0]])
def test_accuracies_that_are_all_equal_have_no_ndcg(accuracies: list[float]) -> None:
    """Any ranking would come out at 1.000."""
    assert math.isnan(ndcg(np.arange(3.0), np.array(accuracies)))
    found = agreement(np.arange(3.0), np.array(accuracies), resamples=20)
    assert math.isnan(found.ndcg.value)
    assert math.isnan(found.ndcg.high)
