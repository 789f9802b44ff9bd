"""How a run ranks its networks: one answer for every command and every method."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vkdnw.search.configuration import Json, own_code
from vkdnw.search.rankings.best_networks import Ranked, rank
from vkdnw.search.requested_values import ranked_by
from vkdnw.search.state.results import Tally, open_results
from vkdnw.search.tasks import Evaluation

AGGREGATE = "aggregate"
"""The ranking of an evolution: the sum of logarithms of ranks of its keys."""


@dataclass(frozen=True)
class RunRanking:
    """The networks of a run, best first."""

    by: str
    """The name of the value or aggregate that ranks them."""
    rows: Sequence[Ranked]
    tally: Tally | None
    """How far the run is; None for a table."""
    settings: Mapping[str, Json]
    own_code: Mapping[str, str] = field(default_factory=dict)
    """Where the space and the proxies come from that are not of this package."""


def ranking_of(source: Path, by: str | None = None) -> RunRanking:
    """Rank the networks of a run, finished or not, or of an exported table.

    Args:
        source: the folder of a run, or a table.
        by: a value, an aggregate's name or an aggregate written out; None for the ranking that the
            run was asked for: the aggregate of an evolution, `vkdnw_agg` where that was asked for,
            ...

    Raises:
        StoreError: there is no run.
        ValueError: no value is called `by`; those that there are.
    """
    if source.is_file():
        from vkdnw.search.rankings import exported_scores

        evaluations = exported_scores.read(source)
        by = by or _first_known(evaluations)
        return RunRanking(_name(by), rank(evaluations, by), None, {})
    with open_results(source) as results:
        settings, tally = results.settings(), results.tally()
        evaluations, own = results.evaluations(), own_code(results.versions())
    if "strategy" in settings and by in (None, AGGREGATE):
        return RunRanking(AGGREGATE, _by_aggregate(source, evaluations), tally, settings, own)
    by = by or default_by(settings, evaluations)
    return RunRanking(_name(by), rank(evaluations, by), tally, settings, own)


def default_by(settings: Mapping[str, Json], evaluations: Sequence[Evaluation] = ()) -> str:
    """The default ranking of a run of these settings."""
    if "strategy" in settings:
        return AGGREGATE
    text = settings.get("proxies")
    if isinstance(text, str):
        return ranked_by(text)
    return _first_known(evaluations)


def _first_known(evaluations: Sequence[Evaluation]) -> str:
    known = {name for one in evaluations for name in one.values}
    if "single" in known or not known:
        return "single"
    return min(known)


def _by_aggregate(folder: Path, evaluations: Sequence[Evaluation]) -> list[Ranked]:
    """As the search itself compares its networks; those over the latency come last."""
    from vkdnw.search.evolution import history  # loads pandas, which values need not wait for

    found = history.load(folder)
    if found.table.empty:
        return []
    scores = dict(zip(found.table["architecture"], map(float, found.aggregates()), strict=True))
    rows = [
        replace(row, values={AGGREGATE: scores[row.architecture], **row.values})
        for row in rank(evaluations, "flops")
        if row.architecture in scores
    ]
    age = {architecture: place for place, architecture in enumerate(scores)}
    rows.sort(key=lambda row: age[row.architecture])
    rows.sort(key=lambda row: _descending(row.values[AGGREGATE]))
    return [replace(row, rank=place) for place, row in enumerate(rows, start=1)]


def _descending(value: float) -> tuple[bool, float]:
    return (math.isnan(value), -value)


def _name(by: str) -> str:
    """`mine` of `mine=jacov+2*flops`."""
    return by.partition("=")[0].strip()
