"""Latency as a budget and as a value on record."""

import math
from random import Random

import pytest

from tests.search.evolution.fakes import FakeProxies
from vkdnw.search.evolution import latency as module
from vkdnw.search.evolution.latency import TimedScorer, latency
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.tasks import Task

SPACE = NB201(channels=4, cells=1, classes=3, resolution=8)
NETWORK = "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"
TASK = Task(NETWORK, 0, ("vkdnw", "expressivity", "latency"))


def test_a_latency_is_the_median_time_of_one_image(monkeypatch):
    ticks = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])  # three runs: of 3, 1 and 2 seconds
    monkeypatch.setattr(module, "REPEATS", 3)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    assert latency(SPACE, NETWORK, resolution=8) == 2.0


def test_it_is_measured_at_the_resolution_asked_for():
    small, large = (min(latency(SPACE, NETWORK, side) for _ in range(3)) for side in (8, 128))
    assert 0 < small < large


def test_a_network_within_the_bound_is_scored_as_without(monkeypatch):
    monkeypatch.setattr(module, "latency", lambda *arguments: 0.25)
    for bound in (None, 0.25):
        scored = TimedScorer(FakeProxies(), SPACE, 8, bound)(TASK)
        plain = FakeProxies()(Task(NETWORK, 0, ("vkdnw", "expressivity")))
        assert scored.values == {**plain.values, "latency": 0.25}


def test_a_network_over_the_bound_is_not_scored(monkeypatch):
    monkeypatch.setattr(module, "latency", lambda *arguments: 0.5)

    def never(task):
        raise AssertionError("scored although it is too slow")

    scored = TimedScorer(never, SPACE, 8, 0.25)(TASK)
    assert scored.values["latency"] == 0.5
    assert math.isnan(scored.values["vkdnw"])
    assert scored.reasons["vkdnw"] == "not computed: the latency of 0.5 s is over 0.25 s"
    assert set(scored.values) == set(TASK.names)


@pytest.mark.parametrize("pareto", [None, "latency"])
def test_a_search_by_latency_records_it(tmp_path, pareto, monkeypatch):
    from rich.console import Console

    from vkdnw.search.evolution import Budget, SearchPlan, history
    from vkdnw.search.evolution.run import SearchRequest, search
    from vkdnw.search.progress import Lines
    from vkdnw.search.spaces.search_space import settings_of
    from vkdnw.search.stop_signals import Interruption

    def measured(space, network, resolution):
        return Random(network).random()

    monkeypatch.setattr(module, "latency", measured)
    plan = SearchPlan(
        evaluations=30,
        population=8,
        in_flight=3,
        keys=("vkdnw", "flops"),
        pareto=pareto,
        budget=Budget(latency=0.5),
    )
    request = SearchRequest(
        folder=tmp_path,
        space=SPACE,
        plan=plan,
        settings={**settings_of(SPACE), **plan.settings()},
        inputs={0: {"batch": "batch 0"}},
        scorers=[TimedScorer(FakeProxies(), SPACE, 8, 0.5)],
        in_this_process=True,
    )
    search(request, Lines(Console(quiet=True)), Interruption())
    found = history.load(tmp_path)
    assert list(found.within_budget) == [value <= 0.5 for value in found.table["latency"]]
    assert 0 < found.within_budget.sum() < len(found.table)
    assert list(found.aggregates().isna()) == list(~found.within_budget)
    best = found.table.set_index("architecture").loc[found.best()]
    assert best["latency"] <= 0.5
    if pareto:
        assert (found.pareto_front("latency")["latency"] <= 0.5).all()
