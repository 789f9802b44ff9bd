"""The history of a search: its best network, its front, its picture, its command."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from tests.search.evolution.fakes import FakeSearch
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.errors import StoreError
from vkdnw.search.evolution import history
from vkdnw.search.evolution.history import History
from vkdnw.search.spaces.mobilenetv2 import parse
from vkdnw.search.state.results import Tally

SETTINGS = {"keys": "flops,a,b", "pareto": None, "budget_latency": None, "strategy": "evolution"}


def history_of(settings, **columns):
    table = pd.DataFrame({"architecture": list("vwxyz")[: len(columns["a"])], **columns})
    return History({**SETTINGS, **settings}, table, Tally(0, 0, 0, 0, 0, ()))


def test_the_aggregate_is_the_sum_of_logarithms_of_shares_of_ranks():
    found = history_of({}, flops=[1, 2, 2, 5], a=[3.0, np.nan, 1.0, 2.0], b=[0.0, -np.inf, 1, 1])
    a = rankdata([3.0, -math.inf, 1.0, 2.0])
    expected = sum(
        np.log(ranks / 4) for ranks in (rankdata([1, 2, 2, 5]), a, rankdata([0, -math.inf, 1, 1]))
    )
    np.testing.assert_allclose(found.aggregates(), expected, rtol=1e-12)
    assert found.best() == "y"


def test_what_is_over_the_latency_is_not_ranked():
    columns = {"flops": [1, 2, 3], "a": [1.0, 2.0, 9.0], "b": [1.0, 2.0, 9.0]}
    found = history_of({"budget_latency": 0.1}, latency=[0.1, 0.05, 0.2], **columns)
    assert found.best() == "w"
    assert list(found.aggregates().isna()) == [False, False, True]
    late = history_of({"budget_latency": 0.01}, latency=[0.1, 0.05, 0.2], **columns)
    with pytest.raises(StoreError, match="no network of this search has been scored within"):
        late.best()


def test_the_front_is_against_a_cost_that_is_not_ranked():
    found = history_of(
        {"pareto": "flops"}, flops=[4, 1, 3, 2], a=[9.0, 1.0, 2.0, 3.0], b=[9.0, 1.0, 2.0, 3.0]
    )
    assert found.ranked == ("a", "b")
    assert list(found.pareto_front("flops")["architecture"]) == ["w", "y", "v"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    FakeSearch(str(folder), plan={"pareto": "flops"}).run_here()
    return folder


def test_the_command_shows_best_and_front_and_draws(searched: Path, tmp_path: Path, capsys) -> None:
    picture = tmp_path / "history.png"
    assert run(app, ["history", str(searched), "--json", "-n", "3", "--plot", str(picture)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["about"]["scored"] + told["about"]["failed"] == 60
    best = [one["aggregate"] for one in told["rows"]]
    assert len(best) == 3
    assert best == sorted(best, reverse=True)
    assert told["rows"][0]["architecture"] == history.load(searched).best()
    flops = [one["flops"] for one in told["more"]["front"]]
    assert flops == sorted(flops)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run(app, ["history", str(searched)]) == 0
    assert "Pareto front against flops" in capsys.readouterr().out


def test_a_run_that_is_no_search_is_refused(tmp_path: Path, capsys) -> None:
    assert run(app, ["history", str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err


SEARCH = ["search", "mobilenetv2", "--workers", "0", "--resolution", "32", "--batch-size", "2"]


def test_the_command_searches_and_goes_on(tmp_path: Path, capsys) -> None:
    command = [*SEARCH, "--out", str(tmp_path), "--rank-by", "vkdnw,flops", "--flops", "200M"]
    assert run(app, [*command, "--evaluations", "1"]) == 0
    capsys.readouterr()
    assert run(app, [*command, "--evaluations", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["about"]["scored"] == 2
    for one in told["rows"]:
        parse(one["architecture"])
        assert one["flops"] <= 200e6
        assert 0 < one["vkdnw"] < math.log(9)
    assert run(app, [*command, "--evaluations", "2", "--population", "9"]) == 1
    assert "population: stored 64, asked 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--flops", "many"], "a count is a number and K, M or G"),
        (["--flops", "0"], "a budget of flops must be positive, got 0"),
        (["--strategy", "random", "--pareto", "flops"], "not by 'random'"),
        (["--rank-by", "flops,flops"], "ranked once"),
        (["--rank-by", "flops,luck"], "no proxy is named 'luck'"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, capsys, options, message) -> None:
    assert run(app, [*SEARCH, "--out", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
