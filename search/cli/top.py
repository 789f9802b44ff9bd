"""`vkdnw top RUN`: the best networks of a run, finished or not, or of an exported table."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from vkdnw.search.cli import console
from vkdnw.search.state.results import Tally

if TYPE_CHECKING:  # it imports pandas, which --help need not wait for
    from vkdnw.search.rankings.best import Ranked

COUNT = 10
LISTED_FAILURES = 5
WIDE = 170
"""Columns that a table with architectures takes; in a narrower terminal they follow in a list."""


def top(
    run: Annotated[
        Path,
        typer.Argument(
            help="The folder given as --out, or a table that export made of it.",
            show_default=False,
        ),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = COUNT,
    by: Annotated[
        str | None,
        typer.Option(
            help="What to rank by: single, vkdnw, another value on record, an aggregate "
            "(vkdnw_agg), or one of your own (mine=jacov+2*flops).",
            show_default="what the run was asked for",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the best networks of a run, also while it is going on.

    An aggregate ranks the networks that have all its parts, among one another.
    """
    show(run, count, by, as_json)


def show(run: Path, count: int, by: str | None, as_json: bool) -> None:
    """Print how far a run is, what failed, and its best networks."""
    from vkdnw.search.rankings.of_run import ranking_of

    with console.usage_errors("--by"):
        found = ranking_of(run, by)
    ranked, tally = found.rows[:count], found.tally
    if as_json:
        counts = {} if tally is None else asdict(tally)
        console.print_json(
            {"run": str(run), "by": found.by, **counts, "top": list(map(asdict, ranked))}
        )
        return
    out = console.stdout()
    if tally is not None:
        console.print_line(out, f"{run}: {describe(tally)}")
        for failure in tally.failures[:LISTED_FAILURES]:
            console.print_line(
                out, f"  failed: {failure.network} seed {failure.seed}: {failure.reason}"
            )
    if ranked:
        print_ranked(out, ranked, found.by)


def print_ranked(out: Console, ranked: Sequence["Ranked"], by: str) -> None:
    """The table; where the terminal is too narrow for architectures, those in a list below it."""
    wide = out.width >= WIDE
    out.print(table(ranked, by, architectures=wide))
    if not wide:
        for row in ranked:
            console.print_line(out, f"{row.rank:3}  {row.architecture}")


def describe(tally: Tally) -> str:
    """A run in one sentence."""
    equal = tally.architectures - tally.networks
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    if tally.machine_classes > 1:
        failed += f"; {tally.machine_classes} kinds of machines, which differ in the last bits"
    return (
        f"{tally.architectures:,} architectures, {tally.networks:,} different networks "
        f"({equal:,} equal to another and not scored again), "
        f"{tally.scored:,} of {tally.tasks:,} scored under {tally.seeds} seed(s){failed}"
    )


def table(ranked: Sequence["Ranked"], by: str, architectures: bool) -> Table:
    """The ranking as a table, a column for each value; +- is the deviation over seeds."""
    shown = Table(title=f"Top {len(ranked)} by {by}", title_justify="left", header_style="bold")
    shown.add_column("#", justify="right")
    if architectures:
        shown.add_column("architecture", no_wrap=True)
    wanted = dict.fromkeys([by, *COLUMNS])
    names = [name for name in wanted if any(name in row.values for row in ranked)]
    for name in names:
        shown.add_column(_column(name)[0], justify="right")
    shown.add_column("equal", justify="right")
    for row in ranked:
        cells = [_cell(row, name) for name in names]
        name_cell = [row.architecture] if architectures else []
        shown.add_row(str(row.rank), *name_cell, *cells, _equal(row))
    return shown


COLUMNS = {
    "single": ("single", "{:.4f}", 1.0),
    "vkdnw": ("vkdnw", "{:.4f}", 1.0),
    "layers": ("layers", "{:.0f}", 1.0),
    "flops": ("MFLOPs", "{:.2f}", 1e6),
    "parameters": ("params (M)", "{:.3f}", 1e6),
}
"""Value -> heading, format, unit; any other value has a column where it is what ranks."""


def _column(name: str) -> tuple[str, str, float]:
    return COLUMNS.get(name, (name, "{:.6g}", 1.0))


def _cell(row: "Ranked", name: str) -> str:
    _, form, unit = _column(name)
    if name not in row.values:
        return ""
    text = form.format(row.values[name] / unit)
    if name == "vkdnw" and len(row.seeds) > 1:
        return f"{text} +- {row.spread[name]:.4f}"
    return text


def _equal(row: "Ranked") -> str:
    return f"+{len(row.equal)}" if row.equal else ""
