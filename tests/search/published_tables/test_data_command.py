"""`vkdnw data`: its list, and its check of files."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.spaces.nb_macro import NBMacro


@pytest.fixture
def vkdnw(capsys):
    """Run the command here: (exit code, stdout)."""

    def call(*arguments):
        capsys.readouterr()
        code = run(app, ["data", *map(str, arguments)])
        return code, capsys.readouterr().out

    return call


def published(folder: Path, *, architectures=None) -> Path:
    """A table with the columns of NAS-Bench-Macro's."""
    names = list(NBMacro().architectures()) if architectures is None else architectures
    path = folder / "macro.csv.gz"
    pd.DataFrame({"arch": names, "test_accuracy": 90.0}).to_csv(path, index=False)
    return path


def test_the_published_tables_are_listed_with_their_licences(vkdnw):
    code, out = vkdnw("--space", "nb201", "--json")
    assert code == 0
    tables = json.loads(out)["rows"]
    assert [table["licence"] for table in tables] == ["MIT", "MIT"]
    assert all("nb201" in table["spaces"] and table["url"] for table in tables)
    assert "NAS-Bench-Macro" in vkdnw()[1]


def test_a_complete_table_is_usable(vkdnw, tmp_path):
    code, out = vkdnw(published(tmp_path), "--json")
    (found,) = json.loads(out)["rows"]
    assert code == 0
    assert (found["state"], found["spaces"]) == ("complete", ["nb_macro"])
    assert found["columns"] == {"test_accuracy": 6561}


def test_a_part_of_a_table_is_counted(vkdnw, tmp_path):
    code, out = vkdnw(published(tmp_path, architectures=["00000000", "22222222"]))
    assert code == 0
    assert "2 of 6,561 rows" in out


def test_an_architecture_that_is_none_is_reported(vkdnw, tmp_path):
    code, out = vkdnw(published(tmp_path, architectures=["00000000", "00000003"]))
    assert code == 1
    assert "cannot be used" in out
    assert "row 2: layer 7 of '00000003'" in out


def test_files_that_are_no_table_are_named(vkdnw, tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"arch,a\n1,2\n")[:15])
    (tmp_path / "own.csv").write_text("arch,a\nx,1\n")
    (tmp_path / "notes.txt").write_text("nothing")
    code, out = vkdnw(tmp_path)
    assert code == 1
    assert "no published table" in out
    assert "cannot be read as a table" in out
    assert "notes.txt" not in out


def test_a_place_that_is_not_there_is_wrong_usage(vkdnw, tmp_path):
    assert vkdnw(tmp_path / "no")[0] == 2


@needs_data
def test_a_folder_of_the_official_release_is_counted(vkdnw):
    code, out = vkdnw(DATA / "NATS-tss-v1_0-3ffb9-simple")
    assert code == 0
    assert "3 of 15,625 rows" in out
