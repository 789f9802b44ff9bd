"""Going on with runs: finished ones at once, stopped ones as they were begun, several compared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vkdnw import search
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run as command
from vkdnw.search.state.results import open_results

TINY = {"channels": 4, "cells": 1, "classes": 3, "resolution": 8}
QUIET = {"batch_size": 4, "workers": 0, "progress": False}
BUDGET = {"flops": "0.2M", "rank_by": "flops,synflow", "evaluations": 8}


class Stop(Exception):
    """Ends a search in the middle."""


def stop_after(count: int):
    told = []

    def stop(result: search.Result) -> None:
        told.append(result)
        if len(told) == count:
            raise Stop

    return stop


def values(run: search.Run) -> dict:
    table = run.to_pandas().drop(columns="seconds")
    return {(row.architecture, row.seed): tuple(row) for row in table.itertuples(index=False)}


def test_a_finished_run_answers_without_torch(tmp_path: Path) -> None:
    arguments = {"sample": 3, "proxies": "synflow", **TINY, **QUIET}
    search.enumerate("nb201", tmp_path, **arguments)
    text = f"search.enumerate('nb201', {str(tmp_path)!r}, **{arguments!r}).top(3, by='synflow')"
    check = f"import sys; from vkdnw import search; {text}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", check], check=False).returncode == 0


def test_scores_of_native_and_of_plain_kernels_are_not_mixed(tmp_path, monkeypatch, capsys) -> None:
    few, more = ({"sample": count, **TINY, **QUIET} for count in (2, 3))
    search.enumerate("nb201", tmp_path / "native", **few)
    monkeypatch.setenv("VKDNW_PLAIN", "1")
    with pytest.raises(search.RunError, match="scores are of native kernels, and plain ones are"):
        search.enumerate("nb201", tmp_path / "native", **more)
    assert command(app, ["resume", str(tmp_path / "native"), "--workers", "0"]) == 1
    assert "scores are of native kernels, and plain ones are" in capsys.readouterr().err
    run = search.enumerate("nb201", tmp_path / "plain", **few)
    assert run.settings["kernels"] == "plain"
    assert len(search.enumerate("nb201", tmp_path / "plain", **more)) == 3
    monkeypatch.delenv("VKDNW_PLAIN")
    with pytest.raises(search.RunError, match=r"of plain kernels, and native .* \(VKDNW_PLAIN=1"):
        search.enumerate("nb201", tmp_path / "plain", sample=4, **TINY, **QUIET)
    assert len(search.open(tmp_path / "plain")) == 3


def test_a_run_records_which_kernels_computed(tmp_path, monkeypatch) -> None:
    for chosen, recorded in (("0", "native"), ("1", "plain torch")):
        monkeypatch.setenv("VKDNW_PLAIN", chosen)
        search.enumerate("nb201", tmp_path / chosen, sample=1, proxies="synflow", **TINY, **QUIET)
        with open_results(tmp_path / chosen) as results:
            assert results.versions()["ops"] == recorded


def test_a_stopped_run_is_resumed_as_it_was_begun(tmp_path: Path) -> None:
    whole = search.enumerate("nb201", tmp_path / "whole", sample=5, live=True, **TINY, **QUIET)
    part = tmp_path / "part"
    with pytest.raises(Stop):
        search.enumerate(
            "nb201", part, sample=5, live=True, on_result=stop_after(2), **TINY, **QUIET
        )
    assert len(search.open(part)) == 2
    assert values(search.open(part).resume(workers=0, progress=False)) == values(whole)


def test_a_stopped_evolution_is_resumed_as_it_was_begun(tmp_path: Path, capsys) -> None:
    whole = search.evolve("nb201", tmp_path / "whole", seeds=2, **BUDGET, **TINY, **QUIET)
    part = tmp_path / "part"
    with pytest.raises(Stop):
        search.evolve("nb201", part, seeds=2, on_result=stop_after(5), **BUDGET, **TINY, **QUIET)
    assert command(app, ["resume", str(part), "--workers", "0"]) == 0
    assert values(search.open(part)) == values(whole)
    assert len(whole) == 8 * 2
    more = search.open(part).resume(evaluations=10, workers=0, progress=False)
    assert len(more.history()) == 10


def test_an_evolution_under_seeds_ranks_means(tmp_path: Path) -> None:
    run = search.evolve("nb201", tmp_path, seeds=2, **BUDGET, **TINY, **QUIET)
    means = run.to_pandas().groupby("architecture")["synflow"].mean()
    history = run.history().set_index("architecture")
    assert dict(history["synflow"]) == pytest.approx(dict(means))
    assert len(run.ranking().rows) == 8


def test_a_configuration_is_written_read_and_overruled(tmp_path: Path, capsys) -> None:
    run = search.enumerate("nb201", tmp_path / "a", sample=3, live=True, **TINY, **QUIET)
    written = tmp_path / "run.toml"
    assert command(app, ["config", str(run.folder), "--out", str(written)]) == 0
    assert 'space = "nb201"' in written.read_text()
    other = ["--out", str(tmp_path / "b"), "--workers", "0", "--sample", "4"]
    assert command(app, ["search", "--config", str(written), *other]) == 0
    assert values(run).items() < values(search.open(tmp_path / "b")).items()
    assert len(search.open(tmp_path / "b")) == 4
    capsys.readouterr()
    assert command(app, ["search", "nb201", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


def test_runs_are_compared(tmp_path: Path, capsys) -> None:
    sizes = {**TINY, **QUIET, "proxies": "synflow"}
    one = search.enumerate("nb201", tmp_path / "a", sample=6, **sizes)
    other = search.enumerate("nb201", tmp_path / "b", sample=4, seeds=2, **sizes)
    found = search.compare([one, other], top=2)
    assert list(found.runs["networks"]) == [6, 4]
    assert found.pairs["shared"].item() == 4
    assert -1 <= found.pairs["kendall"].item() <= 1
    words = ["compare", str(one.folder), str(other.folder), "--by", "flops", "--json"]
    assert command(app, words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["more"]["pairs"][0]["kendall"] == pytest.approx(1.0)
    with pytest.raises(search.ArgumentError, match="two runs or more"):
        search.compare([one])


def test_evolutions_are_compared_among_all_their_networks(tmp_path: Path) -> None:
    plan = {**BUDGET, **TINY, **QUIET}
    runs = [search.evolve("nb201", tmp_path / str(s), seed=s, **plan) for s in (0, 1)]
    found = search.compare(runs, top=3)
    assert (found.runs["best_together"] >= found.runs["mean_together"]).all()
    assert found.runs["best_together"].max() <= 0


def test_an_estimate_counts_measures_and_keeps_nothing(tmp_path: Path, capsys) -> None:
    sizes = {**TINY, "batch_size": 4}
    found = search.estimate("nb201", tmp_path / "a", sample=6, live=True, seeds=2, **sizes)
    assert (found.architectures, found.tasks, found.done) == (6, found.networks * 2, 0)
    assert found.seconds_each > 0
    assert not (tmp_path / "a").exists()
    cluster = {"executor": "ray:127.0.0.1:6379", "workers": 3}
    assert search.estimate("nb201", tmp_path / "a", sample=6, **cluster, **sizes).workers == 3
    plan = {"evaluations": 9, "rank_by": "flops,synflow", "flops": "0.2M"}
    bred = search.estimate("nb201", tmp_path / "a", **plan, **sizes)
    assert (bred.tasks, bred.values) == (9, ("synflow",))
    options = ["--sample", "6", "--live", "--batch-size", "4", "--dry-run"]
    options += [word for name, size in TINY.items() for word in (f"--{name}", str(size))]
    assert command(app, ["search", "nb201", "--out", str(tmp_path / "a"), *options]) == 0
    assert "6 architectures" in capsys.readouterr().out
    assert not (tmp_path / "a").exists()
