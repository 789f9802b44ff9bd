"""Searching from Python: the same runs as the command's, as objects."""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch

from vkdnw import search
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run as command
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201 import NB201

TINY = {"channels": 4, "cells": 1, "classes": 3, "resolution": 8}
QUIET = {"batch_size": 4, "workers": 0, "progress": False}
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> search.Run:
    folder = tmp_path_factory.mktemp("scored")
    return search.enumerate("nb201", folder, sample=6, live=True, seeds=2, **TINY, **QUIET)


@pytest.fixture(scope="module")
def bred(tmp_path_factory: pytest.TempPathFactory) -> search.Run:
    folder = tmp_path_factory.mktemp("bred")
    keys = ["flops", "expressivity"]
    return search.evolve(
        "nb201", folder, evaluations=14, flops="0.2M", rank_by=keys, **TINY, **QUIET
    )


def test_a_run_is_a_table(scored: search.Run) -> None:
    table = scored.to_pandas()
    assert len(table) == 6 * 2
    assert {"architecture", "seed", "vkdnw", "single", "flops", "network", "seconds"} < {*table}
    assert all(map(nb201.is_live, table["architecture"]))
    assert len(scored) == 12
    assert repr(scored).endswith("scores of nb201, 12 of 12 scored)")


def test_the_command_makes_the_same_run(scored: search.Run, tmp_path: Path) -> None:
    sizes = [word for name, size in TINY.items() for word in (f"--{name}", str(size))]
    words = ["--sample", "6", "--live", "--seeds", "2", "--batch-size", "4", "--workers", "0"]
    assert command(app, ["search", "nb201", "--out", str(tmp_path), *words, *sizes]) == 0
    other = search.open(tmp_path)
    assert other.settings == scored.settings
    columns = ["architecture", "seed", "vkdnw", "single"]
    pd.testing.assert_frame_equal(other.to_pandas()[columns], scored.to_pandas()[columns])


def test_the_best_come_first_and_say_by_what(scored: search.Run) -> None:
    top = scored.top(3)
    assert top.attrs["by"] == "single" == scored.ranked_by
    assert list(top.index) == [1, 2, 3]
    assert top["single"].is_monotonic_decreasing
    assert {"std", "equal"} < {*top}
    assert scored.top(1, by="flops")["flops"].item() == scored.to_pandas()["flops"].max()


def test_the_best_network_is_built(scored: search.Run) -> None:
    best = scored.best()
    assert best.architecture == scored.top(1)["architecture"].item()
    with torch.no_grad():
        logits = best.build(classes=7).eval()(torch.zeros(1, 3, 8, 8))
    assert logits.shape == (1, 7)
    assert best.cost().layers == best.values["layers"]  # noqa: PD011 - no data frame


def test_the_space_is_made_again_from_the_record(scored: search.Run) -> None:
    assert search.open(scored.folder).space == NB201(**TINY)


def test_a_run_is_held_against_accuracies(scored: search.Run) -> None:
    means = scored.to_pandas().groupby("architecture")["single"].mean()
    found = scored.evaluate(means.rank() + 50, rankings=["single"], bootstrap=0)
    assert found.set_index("ranking")["kendall"]["single"] == pytest.approx(1.0)
    with pytest.raises(search.ArgumentError, match="'singel' is not known; did you mean 'single'"):
        scored.evaluate(means, rankings=["singel"])


def test_an_evolution_keeps_to_its_budget_and_has_a_course(bred: search.Run) -> None:
    history = bred.history()
    assert len(history) == 14
    assert (history["flops"] <= 200_000).all()
    assert history["best_so_far"].is_monotonic_increasing
    assert bred.ranked_by == "aggregate"
    assert bred.best().architecture == history.sort_values("aggregate")["architecture"].iloc[-1]


def test_a_run_of_listed_architectures_has_no_course(scored: search.Run) -> None:
    with pytest.raises(search.StoreError, match="listed architectures"):
        scored.history()


def test_every_result_is_told_once_it_is_on_disk(tmp_path: Path) -> None:
    told = []

    def note(result: search.Result) -> None:
        assert result.network in set(search.open(tmp_path).to_pandas()["network"])
        told.append(result)

    run = search.enumerate("nb201", tmp_path, sample=3, on_result=note, **TINY, **QUIET)
    assert len(told) == 3
    values = {one.architecture: one.values for one in told}  # noqa: PD011 - no data frame
    for row in run.to_pandas().to_dict("records"):
        assert values[row["architecture"]]["single"] == row["single"]


def test_what_a_callback_raises_ends_the_call_and_the_call_goes_on(tmp_path: Path) -> None:
    def stop(result: search.Result) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        search.enumerate("nb201", tmp_path, sample=3, on_result=stop, **TINY, **QUIET)
    assert len(search.open(tmp_path)) == 1
    assert len(search.enumerate("nb201", tmp_path, sample=3, **TINY, **QUIET)) == 3


@pytest.mark.parametrize(
    ("space", "arguments", "message"),
    [
        ("nb2O1", {"sample": 3}, "no space is called 'nb2O1'; did you mean 'nb201'"),
        ("nb201", {}, "sample=, all=True or architectures="),
        ("nb201", {"sample": 3, "chanels": 4}, "did you mean 'channels'"),
        ("nb201", {"sample": 3, "proxies": "zico,nope"}, "'nope'"),
        ("nb201", {"architectures": ["conv"]}, "'conv'"),
        ("mobilenetv2", {"all": True}, "too large to list"),
        ("no_module:Space", {"sample": 3}, "cannot be imported"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_begun(
    tmp_path: Path, space: str, arguments: dict, message: str
) -> None:
    with pytest.raises(search.ArgumentError, match=message):
        search.enumerate(space, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_a_space_that_lists_nothing_is_sampled(tmp_path: Path) -> None:
    from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
    from vkdnw.search.spaces.selection import Selection

    few, many = (Selection(sample=n).architectures(MobileNetV2()) for n in (3, 8))
    assert many[:3] == few
    assert len(set(many)) == 8


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])


def test_a_space_of_one_s_own_is_named_by_its_place(
    tmp_path: Path, examples: None, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--space", "staircase_space:Staircase", "--out", str(tmp_path)]
    options = ["--sample", "4", "--batch-size", "4", "--resolution", "8", "--json"]
    assert command(app, ["search", "custom", *place, *options, "--workers", "2"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 4
    opened = search.open(tmp_path)
    assert opened.settings["space_from"] == "staircase_space:Staircase"
    assert opened.space.resolution == 8
    assert opened.best().build()(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_the_options_of_a_space_are_its_sizes(
    examples: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(app, ["search", "custom", "--space", "staircase_space:Staircase", "-h"]) == 0
    told = capsys.readouterr().out
    assert "--resolution" in told
    assert "--channels" not in told


@pytest.mark.parametrize(("batch_size", "said"), [(8, True), (64, False)])
def test_a_batch_that_cannot_fill_the_spectrum_is_said_once(batch_size: int, said: bool) -> None:
    from vkdnw.search.api.options import SearchOptions
    from vkdnw.search.api.scoring_setup import set_up

    options = SearchOptions(space="nb201", out="", workers=1, batch_size=batch_size)
    note = set_up(options).note
    assert (note is not None) == said
    if note:
        assert "B (C - 1) = 72, less than its 128 scalars" in note
        assert "15 images or more" in note


def test_networks_of_low_rank_do_not_warn_one_by_one(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.enumerate(
            "nb201", tmp_path / "run", sample=1,
            cells=1, resolution=8, batch_size=2, workers=0, progress=False,
        )  # fmt: skip
