"""Formats: one shape of JSON and YAML, and the rows as tables that other programs read."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.search.evolution.fakes import FakeSearch
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    FakeSearch(str(folder), plan={"evaluations": 20}).run_here()
    return folder


COMMANDS = [["top", "RUN"], ["history", "RUN"], ["proxies"], ["data"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_json_and_yaml_have_one_shape(searched: Path, capsys, command: list[str]) -> None:
    words = [str(searched) if word == "RUN" else word for word in command]
    assert run(app, [*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) <= {"command", "about", "rows", "more"}
    assert told["command"] == command[0]
    assert told["rows"]
    yaml = pytest.importorskip("yaml")
    assert run(app, [*words, "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == told


def test_csv_and_parquet_have_the_rows(searched: Path, capfdbinary) -> None:
    assert run(app, ["top", str(searched), "-n", "5", "--format", "csv"]) == 0
    table = pd.read_csv(io.BytesIO(capfdbinary.readouterr().out))
    assert run(app, ["top", str(searched), "-n", "5", "--format", "parquet"]) == 0
    other = pd.read_parquet(io.BytesIO(capfdbinary.readouterr().out))
    assert len(table) == 5
    columns = ["rank", "architecture", "aggregate", "flops", "vkdnw"]
    pd.testing.assert_frame_equal(table[columns], other[columns])


def test_top_and_history_rank_alike_and_say_by_what(searched: Path, capsys) -> None:
    assert run(app, ["top", str(searched), "--json"]) == 0
    top = json.loads(capsys.readouterr().out)
    assert run(app, ["history", str(searched), "--json"]) == 0
    history = json.loads(capsys.readouterr().out)
    assert top["about"]["by"] == history["about"]["by"] == "aggregate"
    assert [row["architecture"] for row in top["rows"]] == [
        row["architecture"] for row in history["rows"]
    ]
    assert run(app, ["export", str(searched), "--best", "--out", "no.suffix"]) == 1
    assert "let it end in .py, .onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["search", "nb201", "--weights", "first"], "--weights is --scalars now"),
        (["score", "a:b", "--proxy", "jacov"], "--proxies NAME,NAME now"),
        (["search", "mobilenetv2", "--out", "RUN", "--layers", "14"], "give --depth"),
        (["search", "nb2O1"], "did you mean 'nb201'"),
        (["top", "RUN", "--by", "vkdwn"], "did you mean"),
        (["score", "a:b", "--proxies", "jacv"], "did you mean 'jacov'"),
    ],
)
def test_old_and_misspelt_words_are_answered_with_the_right_one(
    searched: Path, capsys, words: list[str], answer: str
) -> None:
    assert run(app, [str(searched) if word == "RUN" else word for word in words]) == 2
    assert answer in capsys.readouterr().err
