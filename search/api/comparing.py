"""`search.compare`: several runs, and the agreement of each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from vkdnw.search.api.run import Run
from vkdnw.search.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """Several runs."""

    runs: "pd.DataFrame"
    """A row for each: its space, its cost, its best network by its own ranking. For
    evolutions of the same keys also `best_together` and `mean_together`: aggregates of its best
    network, and of its best ones, among the networks of all runs, higher is better."""
    pairs: "pd.DataFrame"
    """A row for each pair, over the networks that both have scored: Kendall's tau-b and Spearman's
    rho of their rankings, and the share of the best that both have among theirs."""


def compare(runs: Sequence[Run | str | Path], by: str | None = None, top: int = 10) -> Comparison:
    """Compare runs: their spaces, their costs, their rankings.

    Args:
        runs: two or more, of one space.
        by: a value or an aggregate that ranks all of them; None: each run's own.
        top: so many best networks are compared.

    Raises:
        ArgumentError: fewer than two runs, or runs of several spaces.
        StoreError: there is no run.
    """
    import pandas as pd

    opened = [one if isinstance(one, Run) else Run(Path(one)) for one in runs]
    if len(opened) < 2:
        raise ArgumentError(f"compare two runs or more, got {len(opened)}")
    spaces = {str(one.settings.get("space")) for one in opened}
    if len(spaces) > 1:
        raise ArgumentError(
            f"these are runs of several spaces ({', '.join(sorted(spaces))}), whose networks "
            "cannot be compared"
        )
    together = _together(opened, top) if by is None else {}
    scores = [_scores(one, by) for one in opened]
    rows = [
        {**_row(one, score), **together.get(place, {})}
        for place, (one, score) in enumerate(zip(opened, scores, strict=True))
    ]
    pairs = [
        {"a": str(a.folder), "b": str(b.folder), **_agreement(one, other, top)}
        for (a, one), (b, other) in combinations(zip(opened, scores, strict=True), 2)
    ]
    return Comparison(pd.DataFrame(rows), pd.DataFrame(pairs))


def _scores(run: Run, by: str | None) -> "pd.Series[float]":
    """The values of the ranking by architecture, best first; named after the ranking."""
    import pandas as pd

    found = run.ranking(by)
    values = {row.architecture: row.values.get(found.by) for row in found.rows}  # noqa: PD011
    return pd.Series(values, name=found.by, dtype=float)


def _row(run: Run, scores: "pd.Series[float]") -> dict[str, Any]:
    settings, evaluations = run.settings, run.evaluations()
    return {
        "run": str(run.folder),
        "kind": settings.get("strategy", "scores"),
        "space": settings.get("space"),
        "networks": len({one.network for one in evaluations}),
        "seconds": fmean(one.seconds for one in evaluations) if evaluations else None,
        "by": scores.name,
        "best": scores.iloc[0] if len(scores) else None,
        "architecture": scores.index[0] if len(scores) else None,
    }


def _agreement(one: "pd.Series[float]", other: "pd.Series[float]", top: int) -> dict[str, Any]:
    from scipy.stats import kendalltau, spearmanr

    shared = one.index.intersection(other.index)
    a, b = one[shared], other[shared]
    defined = a.notna() & b.notna()
    a, b = a[defined], b[defined]
    enough = len(a) > 1
    count = min(top, len(a))
    best = [set(column.nlargest(count).index) for column in (a, b)]
    return {
        "shared": len(a),
        "kendall": float(kendalltau(a, b).statistic) if enough else None,
        "spearman": float(spearmanr(a, b).statistic) if enough else None,
        "top": count,
        "overlap": len(best[0] & best[1]) / count if count else None,
    }


def _together(runs: Sequence[Run], top: int) -> Mapping[int, dict[str, float]]:
    """Aggregates of evolutions among the networks of all of them, by the run's place."""
    import pandas as pd

    from vkdnw.search.evolution.history import aggregate, load

    if not all(one.is_evolution for one in runs):
        return {}
    found = [load(one.folder) for one in runs]
    if len({one.ranked for one in found}) > 1 or any(one.table.empty for one in found):
        return {}
    tables = [one.table[one.within_budget] for one in found]
    everything = pd.concat(tables).drop_duplicates("architecture")
    scores = aggregate(everything, found[0].ranked).set_axis(everything["architecture"])
    told = {}
    for place, table in enumerate(tables):
        best = scores[table["architecture"]].nlargest(top)
        told[place] = {
            "best_together": float(best.iloc[0]),
            "mean_together": float(best.mean()),
        }
    return told
