"""`vkdnw history RUN`: how far a search is, its best networks, its Pareto front, a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vkdnw.search.cli import console, output_formats
from vkdnw.search.cli.command_output import Column, Report, Section, number, own_lines, text, value

if TYPE_CHECKING:
    import pandas as pd

    from vkdnw.search.evolution.history import History

COUNT = 10
LISTED_FAILURES = 5
COSTS = ("flops", "parameters", "depth", "latency")
"""Shown where they are known, whether or not they rank."""


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
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Show the course of a search, also while it is going on.

    Ranked as `vkdnw top` ranks it: by the search's aggregate, the sum of logarithms of ranks.
    """
    show(run, count, output_formats.chosen(form, as_json))
    if plot is not None:
        from vkdnw.search.evolution.history import load
        from vkdnw.search.plots.evolution import draw_history
        from vkdnw.search.plots.figure import save

        found = load(run)
        figure = draw_history(found, str(found.settings["pareto"] or "flops"))
        console.print_line(console.stderr(), str(save(figure, plot)))


def show(run: Path, count: int, form: output_formats.Form) -> None:
    """Print the best networks of a search, and its Pareto front where it seeks one."""
    from vkdnw.search.evolution.history import load

    found = load(run)
    if found.table.empty:
        raise typer.BadParameter(f"{run} has no scores yet", param_hint="RUN")
    output_formats.print_report(report(run, found, count), form)


def report(run: Path, found: "History", count: int) -> Report:
    """The best by the search's aggregate, oldest first among equals, and the front."""
    networks = found.table.assign(number=found.table.index, aggregate=found.aggregates())
    best = networks.sort_values("aggregate", ascending=False, kind="stable")[:count]
    cost = found.settings["pareto"]
    front = networks.loc[found.pareto_front(str(cost)).index] if cost else None
    keys = ", ".join(found.ranked)
    failed = [f"  failed: {one.network}: {one.reason}" for one in found.tally.failures]
    about = {
        "run": str(run),
        "by": "aggregate",
        "keys": list(found.ranked),
        "strategy": found.settings["strategy"],
        "scored": len(found.table),
        "failed": len(found.tally.failures),
        "own_code": dict(found.own_code),
    }
    return Report(
        "history",
        _section(f"Best {len(best)} by aggregate ({keys})", best, found),
        about,
        {} if front is None else {"front": _section(f"Pareto front against {cost}", front, found)},
        before=[
            f"{run}: {_describe(found)}",
            *failed[:LISTED_FAILURES],
            *own_lines(found.own_code),
        ],
    )


def _section(title: str, networks: "pd.DataFrame", found: "History") -> Section:
    rows: list[dict[str, Any]] = [
        {"rank": place, **{str(name): cell for name, cell in row.items()}}
        for place, row in enumerate(networks.to_dict("records"), start=1)
    ]
    known = [name for name in COSTS if name in networks.columns]
    extra = [name for name in found.ranked if name not in known]
    columns: list[Column] = [
        number("rank", "#", "{:.0f}"),
        text("architecture"),
        number("aggregate"),
        *(value(name) for name in known),
        *(value(name) for name in extra),
    ]
    return Section(rows, columns, title)


def _describe(found: "History") -> str:
    failures = len(found.tally.failures)
    over = int((~found.within_budget).sum())
    parts = [f"{len(found.table):,} networks scored by {found.settings['strategy']}"]
    parts += [f"{over:,} of them over the latency"] if over else []
    parts += [f"{failures:,} failed"] if failures else []
    return ", ".join(parts)
