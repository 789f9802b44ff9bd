"""`vkdnw history RUN`: how far a search is, its best networks, its Pareto front, a picture."""

from collections.abc import Sequence
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
    networks = found.table.assign(number=found.table.index, aggregate=found.aggregates())
    best = networks.sort_values("aggregate", ascending=False, kind="stable")[:count]
    cost = found.settings["pareto"]
    edge = networks.loc[found.pareto_front(str(cost)).index] if cost else None
    if as_json:
        console.print_json(
            {
                "run": str(run),
                "strategy": found.settings["strategy"],
                "scored": len(found.table),
                "failed": len(found.tally.failures),
                "best": best.to_dict("records"),
                "front": None if edge is None else edge.to_dict("records"),
            }
        )
        return
    out = console.stdout()
    console.print_line(out, f"{run}: {_describe(found)}")
    for failure in found.tally.failures[:LISTED_FAILURES]:
        console.print_line(out, f"  failed: {failure.network}: {failure.reason}")
    _print(f"Best {len(best)} by aggregate", best, found.ranked)
    if edge is not None:
        _print(f"Pareto front against {cost}", edge, found.ranked)


def _describe(found: "History") -> str:
    failures = len(found.tally.failures)
    over = int((~found.within_budget).sum())
    parts = [f"{len(found.table):,} networks scored by {found.settings['strategy']}"]
    parts += [f"{over:,} of them over the latency"] if over else []
    parts += [f"{failures:,} failed"] if failures else []
    return ", ".join(parts)


def _print(title: str, rows: "pd.DataFrame", ranked: Sequence[str]) -> None:
    out = console.stdout()
    shown = Table(title=title, title_justify="left", header_style="bold")
    names = [name for name in COLUMNS if name in rows.columns]
    extra = [name for name in ranked if name not in COLUMNS]
    for heading in ("#", "aggregate", *(COLUMNS[name][0] for name in names), *extra):
        shown.add_column(heading, justify="right")
    for place, row in enumerate(rows.to_dict("records"), start=1):
        cells = [COLUMNS[name][1].format(row[name] / COLUMNS[name][2]) for name in names]
        values = [f"{row[name]:.4f}" for name in ("aggregate", *extra)]
        shown.add_row(str(place), values[0], *cells, *values[1:])
    out.print(shown)
    for place, architecture in enumerate(rows["architecture"], start=1):
        console.print_line(out, f"{place:3}  {architecture}")


COLUMNS = {
    "flops": ("MFLOPs", "{:.2f}", 1e6),
    "parameters": ("params (M)", "{:.3f}", 1e6),
    "depth": ("depth", "{:.0f}", 1.0),
    "latency": ("latency (ms)", "{:.2f}", 1e-3),
}
"""Value -> heading, format, unit."""
