"""How rankings agree with accuracies, as tables for people."""

import math
from collections.abc import Sequence

from rich.table import Table

from vkdnw.search.evaluate import Result
from vkdnw.search.metrics import Estimate
from vkdnw.search.paper import Published, table_1
from vkdnw.search.spread import SeedSpread, Spread

METRICS = {"Kendall tau-b": "kendall", "Spearman rho": "spearman", "nDCG": "ndcg"}


def agreement_table(results: Sequence[Result], *, intervals: bool, paper: bool) -> Table:
    """One line for each ranking and data set; beside each value its interval, or the paper's."""
    shown = _table("ranking", "data set")
    shown.add_column("n", justify="right")
    for heading in METRICS:
        shown.add_column(heading, justify="right")
        if paper:
            shown.add_column("paper", justify="right")
            shown.add_column("diff", justify="right")
    for heading in ("P", "undefined", "no accuracy"):
        shown.add_column(heading, justify="right")
    for result in results:
        cells = [
            cell
            for metric in METRICS.values()
            for cell in _cells(result, metric, intervals=intervals, paper=paper)
        ]
        counts = (str(count or "") for count in (result.undefined, result.missing))
        shown.add_row(
            result.ranking, result.dataset, f"{result.n:,}", *cells, str(result.top), *counts
        )
    return shown


def spread_table(spreads: Sequence[SeedSpread]) -> Table:
    """One line for each ranking and data set: mean and standard deviation over seeds."""
    shown = _table("ranking", "data set", title="Each seed by itself: mean +- deviation")
    for heading in ("seeds", *METRICS):
        shown.add_column(heading, justify="right")
    for spread in spreads:
        cells = (_spread_cell(getattr(spread, metric)) for metric in METRICS.values())
        shown.add_row(spread.ranking, spread.dataset, str(spread.seeds), *cells)
    return shown


def _table(*headings: str, title: str | None = None) -> Table:
    shown = Table(title=title, title_justify="left", header_style="bold")
    for heading in headings:
        shown.add_column(heading, no_wrap=True)
    return shown


def _cells(result: Result, metric: str, *, intervals: bool, paper: bool) -> list[str]:
    estimate: Estimate = getattr(result, metric)
    value = f"{estimate.value:.3f}"
    if intervals:
        value += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    if not paper:
        return [value]
    nothing = Published(math.nan, math.nan, math.nan)
    published: float = getattr(table_1().get((result.ranking, result.dataset), nothing), metric)
    if math.isnan(published):
        return [value, "", ""]
    return [value, f"{published:.3f}", f"{estimate.value - published:+.3f}"]


def _spread_cell(spread: Spread) -> str:
    return f"{spread.mean:.3f} +- {spread.deviation:.3f}"
