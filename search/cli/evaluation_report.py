"""How rankings agree with accuracies, as tables for people; the rows are those of `compare`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vkdnw.search.cli.command_output import Column, Row, Section, number, text
from vkdnw.search.rankings.evaluation import Result
from vkdnw.search.rankings.paper_table1 import Published, table_1
from vkdnw.search.rankings.run_evaluation import agreement_rows
from vkdnw.search.rankings.seed_spread import SeedSpread

METRICS = {"Kendall tau-b": "kendall", "Spearman rho": "spearman", "nDCG": "ndcg"}
MORE = {
    "best 1 %": "top_share",
    "partial tau": "partial_kendall",
    "partial rho": "partial_spearman",
}
"""Shown without intervals, which JSON has. Partial: with the number of parameters held fixed."""
NOTHING = Published(math.nan, math.nan, math.nan)
KEYS = (text("ranking"), text("dataset", "data set"))


def agreement_section(results: Sequence[Result], *, paper: bool) -> Section:
    """One row for each ranking and data set; beside each value its interval, or the paper's."""
    rows = [_with_paper(row) if paper else row for row in agreement_rows(results)]
    columns = [*KEYS, number("n", form="{:,.0f}"), *_metrics(paper, _with_interval)]
    columns += [_number(heading, key) for heading, key in MORE.items()]
    columns += [number("top", "P", "{:.0f}"), _count("undefined"), _count("missing", "no accuracy")]
    return Section(rows, columns, keys=len(KEYS))


def spread_section(spreads: Sequence[SeedSpread], *, title: str, paper: bool) -> Section:
    """One row for each ranking and data set: mean and standard deviation over seeds, or fits."""
    rows: list[dict[str, Any]] = []
    for one in spreads:
        row: dict[str, Any] = {"ranking": one.ranking, "dataset": one.dataset}
        row |= {"n": list(one.n), "seeds": one.seeds}
        for metric in METRICS.values():
            found = getattr(one, metric)
            row |= {metric: found.mean, f"std_{metric}": found.deviation}
        rows.append(_with_paper(row) if paper else row)
    columns = [*KEYS, Column("n", _range), number("seeds", form="{:.0f}")]
    return Section(rows, [*columns, *_metrics(paper, _with_deviation)], title, keys=len(KEYS))


def _metrics(paper: bool, shown: Callable[[str], Callable[[Row], str]]) -> list[Column]:
    columns: list[Column] = []
    for heading, metric in METRICS.items():
        columns.append(Column(heading, shown(metric)))
        if paper:
            columns.append(_number("paper", f"paper_{metric}"))
            columns.append(_number("diff", f"diff_{metric}", "{:+.3f}"))
    return columns


def _with_paper(row: Row) -> dict[str, Any]:
    """The row, with the paper's numbers and the differences from them where there are any."""
    published = table_1().get((row["ranking"], row["dataset"]), NOTHING)
    found: dict[str, Any] = dict(row)
    for metric in METRICS.values():
        value: float = getattr(published, metric)
        found |= {f"paper_{metric}": value, f"diff_{metric}": row[metric] - value}
    return found


def _number(heading: str, key: str, form: str = "{:.3f}") -> Column:
    """Nothing where a metric is undefined."""

    def cell(row: Row) -> str:
        value = row.get(key, math.nan)
        return "" if math.isnan(value) else form.format(value)

    return Column(heading, cell)


def _with_interval(metric: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value = row[metric]
        if math.isnan(value):
            return ""
        low, high = row.get(f"{metric}_low", math.nan), row.get(f"{metric}_high", math.nan)
        interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        return f"{value:.3f}{interval}"

    return cell


def _with_deviation(metric: str) -> Callable[[Row], str]:
    return lambda row: f"{row[metric]:.3f} +- {row[f'std_{metric}']:.3f}"


def _range(row: Mapping[str, Any]) -> str:
    return " to ".join(dict.fromkeys(f"{n:,}" for n in (min(row["n"]), max(row["n"]))))


def _count(key: str, heading: str | None = None) -> Column:
    return Column(heading or key, lambda row: str(row[key] or ""))
