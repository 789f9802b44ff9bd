"""The best networks of a run, by a value or by an aggregate of several."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from vkdnw.search.did_you_mean import meant
from vkdnw.search.rankings.aggregation import NAMED, Aggregate, parse, scores_of_complete
from vkdnw.search.tasks import Evaluation


@dataclass(frozen=True)
class Ranked:
    """A network's place, with means over the seeds under which it was scored."""

    rank: int
    architecture: str
    values: dict[str, float]
    """Means over seeds of every value, `single` among them."""
    spread: dict[str, float]
    """Standard deviations over seeds (n - 1); 0 under one seed."""
    seeds: tuple[int, ...]
    equal: tuple[str, ...]
    """The other architectures asked for that are the same network, not scored again."""


def rank(evaluations: Iterable[Evaluation], by: str = "single") -> list[Ranked]:
    """Rank networks, highest mean of `by` first, undefined and unknown values last.

    Equal architectures share a row, under the name that was asked for first. `by` is a value, an
    aggregate's name (`vkdnw_agg`) or an aggregate written out (`mine=jacov+2*flops`), which is
    taken among the networks that have all its parts, of their means, and joins their values.

    Raises:
        ValueError: no evaluation has a value of that name, or a part of the aggregate.
    """
    by_network: defaultdict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        by_network[evaluation.network].append(evaluation)
    rows = [_row(group) for group in by_network.values()]
    known = sorted({name for row in rows for name in row.values})
    if rows and by not in known:
        aggregate = NAMED.get(by) or (parse(by) if "=" in by else None)
        if aggregate is None:
            raise ValueError(
                f"no value is called {by!r}{meant(by, [*known, *NAMED])} Known are "
                f"{', '.join(known)}, and aggregates of them"
            )
        by, rows = aggregate.name, _with_aggregate(rows, aggregate)
    rows.sort(key=lambda row: _descending(row.values.get(by, math.nan)))
    return [
        Ranked(place, row.architecture, row.values, row.spread, row.seeds, row.equal)
        for place, row in enumerate(rows, start=1)
    ]


def _with_aggregate(rows: list[Ranked], aggregate: Aggregate) -> list[Ranked]:
    """The rows, with the aggregate among the values of those that have its parts."""
    scores = scores_of_complete([row.values for row in rows], aggregate)
    return [
        replace(row, values={**row.values, aggregate.name: scores[place]})
        if place in scores
        else row
        for place, row in enumerate(rows)
    ]


def _means(group: Sequence[Evaluation]) -> dict[str, float]:
    return {name: fmean(column) for name, column in _columns(group).items()}


def _columns(group: Sequence[Evaluation]) -> dict[str, list[float]]:
    """Each value's readings, seed by seed."""
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for evaluation in group:
        for name, value in evaluation.values.items():
            columns[name].append(value)
    return columns


def _row(group: Sequence[Evaluation]) -> Ranked:
    """One network under all its seeds; unranked as yet."""
    architectures = list(dict.fromkeys(evaluation.architecture for evaluation in group))
    own = [evaluation for evaluation in group if evaluation.architecture == architectures[0]]
    return Ranked(
        rank=0,
        architecture=architectures[0],
        values=_means(own),
        spread={name: _spread(column) for name, column in _columns(own).items()},
        seeds=tuple(evaluation.seed for evaluation in own),
        equal=tuple(architectures[1:]),
    )


def _spread(column: Sequence[float]) -> float:
    if len(column) < 2:
        return 0.0
    return stdev(column) if all(map(math.isfinite, column)) else math.nan


def _descending(value: float) -> tuple[bool, float]:
    """A sorting key: the highest first, NaN last."""
    return (math.isnan(value), -value)
