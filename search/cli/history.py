"""`vkdnw history RUN`: how far a search is, its best networks, its Pareto front, a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vkdnw.search.cli import console

if TYPE_CHECKING:
    import pandas as pd

    from vkdnw.search.evolution.history import History

COUNT = 10
LISTED_FAILURES = 5


def history(
    run: Annotated[Path, typer.Argument(help="The folder given as --out.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = COUNT,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw best and median against evaluations, and the Pareto front, into this file "
            "(.png, .svg, .pdf).",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a search has found, also while it is going on."""
    show(run, count, as_json)
    if plot is not None:
        from vkdnw.search.evolution.history import load
        from vkdnw.search.evolution.plot import draw_history
        from vkdnw.search.plots.figure import save

        found = load(run)
        figure = draw_history(found, str(found.settings["pareto"] or "flops"))
        console.print_line(console.stderr(), str(save(figure, plot)))


def show(run: Path, count: int, as_json: bool) -> None:
    """Print the best networks of a search, and its Pareto front where it seeks one."""
    from vkdnw.search.evolution.history import load

    found = load(run)
    if found.table.empty:
        raise typer.BadParameter(f"{run} has no scores yet", param_hint="RUN")
    scores = found.aggregates()
    best = scores.sort_values(ascending=False, kind="stable").index[:count]
    cost = found.settings["pareto"]
    edge = found.pareto_front(str(cost)) if cost else None
    if as_json:
        console.print_json(_as_json(run, found, found.table.loc[best], scores, edge))
        return
    out = console.stdout()
    console.print_line(out, f"{run}: {_describe(found)}")
    for failure in found.tally.failures[:LISTED_FAILURES]:
        console.print_line(out, f"  failed: {failure.network}: {failure.reason}")
    _print(f"Best {len(best)} by aggregate", found, found.table.loc[best], scores)
    if edge is not None:
        _print(f"Pareto front against {cost}", found, edge, scores)


def _describe(found: "History") -> str:
    failures = len(found.tally.failures)
    over = int((~found.within_budget).sum())
    parts = [f"{len(found.table):,} networks scored by {found.settings['strategy']}"]
    parts += [f"{over:,} of them over the latency"] if over else []
    parts += [f"{failures:,} failed"] if failures else []
    return ", ".join(parts)


def _print(title: str, found: "History", rows: "pd.DataFrame", scores: "pd.Series") -> None:
    out = console.stdout()
    shown = Table(title=title, title_justify="left", header_style="bold")
    names = [name for name in COLUMNS if name in rows.columns]
    extra = [name for name in found.ranked if name not in COLUMNS]
    for heading in ("#", "aggregate", *(COLUMNS[name][0] for name in names), *extra):
        shown.add_column(heading, justify="right")
    for place, (index, row) in enumerate(rows.iterrows(), start=1):
        shown.add_row(
            str(place),
            f"{scores[index]:.4f}",
            *(f"{row[name] / COLUMNS[name][1]:.2f}" for name in names),
            *(f"{row[name]:.4f}" for name in extra),
        )
    out.print(shown)
    for place, architecture in enumerate(rows["architecture"], start=1):
        console.print_line(out, f"{place:3}  {architecture}")


COLUMNS = {
    "flops": ("MFLOPs", 1e6),
    "parameters": ("params (M)", 1e6),
    "depth": ("depth", 1),
    "latency": ("latency (ms)", 1e-3),
}
"""Value -> heading, unit."""


def _as_json(
    run: Path,
    found: "History",
    best: "pd.DataFrame",
    scores: "pd.Series",
    edge: "pd.DataFrame | None",
) -> dict[str, object]:
    def rows(table: "pd.DataFrame") -> list[dict[str, object]]:
        return [
            {"number": int(str(index)), "aggregate": float(scores[index]), **row.to_dict()}
            for index, row in table.iterrows()
        ]

    return {
        "run": str(run),
        "strategy": found.settings["strategy"],
        "scored": len(found.table),
        "failed": len(found.tally.failures),
        "best": rows(best),
        "front": None if edge is None else rows(edge),
    }
