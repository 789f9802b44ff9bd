"""How rankings agree with accuracies, as tables for people."""

import math
from collections.abc import Sequence

from rich.table import Table

from vkdnw.search.rankings.evaluate import Result
from vkdnw.search.rankings.metrics import Estimate
from vkdnw.search.rankings.paper import Published, table_1
from vkdnw.search.rankings.spread import SeedSpread, Spread

METRICS = {"Kendall tau-b": "kendall", "Spearman rho": "spearman", "nDCG": "ndcg"}
MORE = {
    "best 1 %": "top_share",
    "partial tau": "partial_kendall",
    "partial rho": "partial_spearman",
}
"""Shown without intervals, which JSON has. Partial: with the number of parameters held fixed."""
NOTHING = Published(math.nan, math.nan, math.nan)


def agreement_table(results: Sequence[Result], *, intervals: bool, paper: bool) -> Table:
    """One line for each ranking and data set; beside each value its interval, or the paper's."""
    shown = _table(["n"], [*MORE, "P", "undefined", "no accuracy"], paper=paper)
    for result in results:
        estimates = [_estimate_cell(getattr(result, m), intervals) for m in METRICS.values()]
        values = [getattr(result, metric).value for metric in METRICS.values()]
        counts = (str(count or "") for count in (result.undefined, result.missing))
        shown.add_row(
            result.ranking,
            result.dataset,
            f"{result.n:,}",
            *_beside_paper(result, estimates, values, paper),
            *(_number(getattr(result, metric).value) for metric in MORE.values()),
            str(result.top),
            *counts,
        )
    return shown


def spread_table(spreads: Sequence[SeedSpread], *, title: str, paper: bool) -> Table:
    """One line for each ranking and data set: mean and standard deviation over seeds."""
    shown = _table(["n", "seeds"], [], paper=paper, title=title)
    for spread in spreads:
        found: list[Spread] = [getattr(spread, metric) for metric in METRICS.values()]
        cells = [f"{one.mean:.3f} +- {one.deviation:.3f}" for one in found]
        values = [one.mean for one in found]
        shown.add_row(
            spread.ranking,
            spread.dataset,
            " to ".join(dict.fromkeys(f"{n:,}" for n in (min(spread.n), max(spread.n)))),
            str(spread.seeds),
            *_beside_paper(spread, cells, values, paper),
        )
    return shown


def _table(
    before: Sequence[str], after: Sequence[str], *, paper: bool, title: str | None = None
) -> Table:
    shown = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("ranking", "data set"):
        shown.add_column(heading, no_wrap=True)
    metrics = [h for metric in METRICS for h in (metric, *(("paper", "diff") if paper else ()))]
    for heading in (*before, *metrics, *after):
        shown.add_column(heading, justify="right")
    return shown


def _beside_paper(
    result: Result | SeedSpread, cells: Sequence[str], values: Sequence[float], paper: bool
) -> list[str]:
    """The cells, each with the paper's number and the difference from it where asked for."""
    if not paper:
        return list(cells)
    published = table_1().get((result.ranking, result.dataset), NOTHING)
    beside: list[str] = []
    for metric, cell, value in zip(METRICS.values(), cells, values, strict=True):
        number: float = getattr(published, metric)
        known = not math.isnan(number)
        beside += [cell, *((f"{number:.3f}", f"{value - number:+.3f}") if known else ("", ""))]
    return beside


def _number(value: float) -> str:
    """Nothing where a metric is undefined."""
    return "" if math.isnan(value) else f"{value:.3f}"


def _estimate_cell(estimate: Estimate, interval: bool) -> str:
    if not interval or math.isnan(estimate.value):
        return _number(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
