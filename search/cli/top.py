"""`vkdnw top RUN`: the best networks of a run, finished or not, or of an exported table."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vkdnw.search.cli import completion, console, output_formats
from vkdnw.search.cli.command_output import (
    VALUES,
    Column,
    Report,
    Row,
    Section,
    number,
    own_lines,
    text,
    value,
)
from vkdnw.search.state.results import Tally

if TYPE_CHECKING:  # it imports pandas, which --help need not wait for
    from vkdnw.search.rankings.best_networks import Ranked
    from vkdnw.search.rankings.run_ranking import RunRanking

COUNT = 10
LISTED_FAILURES = 5

By = Annotated[
    str | None,
    typer.Option(
        autocompletion=completion.values,
        help="The ranking: single, vkdnw, another value on record, an aggregate "
        "(vkdnw_agg), or one of your own (mine=jacov+2*flops).",
        show_default="the run's own ranking",
    ),
]


def top(
    run: Annotated[
        Path,
        typer.Argument(
            help="The folder given as --out, or a table that export made of it.",
            show_default=False,
        ),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many.")] = COUNT,
    by: By = None,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """Show the best networks of a run, also while it is going on.

    An aggregate ranks the networks that have all its parts, among one another.
    """
    show(run, count, by, output_formats.chosen(form, as_json))


def show(run: Path, count: int, by: str | None, form: output_formats.Form) -> None:
    """Print how far a run is, its failures, and its best networks."""
    from vkdnw.search.rankings.run_ranking import ranking_of

    with console.usage_errors("--by"):
        found = ranking_of(run, by)
    output_formats.print_report(report(run, found, count), form)


def report(run: Path, found: "RunRanking", count: int) -> Report:
    """The best of a ranking: values are means over seeds, `std_NAME` their deviations."""
    ranked = found.rows[:count]
    names = [name for name in dict.fromkeys([found.by, *SHOWN]) if _known(ranked, name)]
    rows = [as_row(row) for row in ranked]
    columns = [number("rank", "#", "{:.0f}"), text("architecture")]
    columns += [_column(name) for name in names]
    if any(row.equal for row in ranked):
        columns.append(Column("equal", _equal))
    tally = found.tally
    own = dict(found.own_code)
    about: dict[str, Any] = {"run": str(run), "by": found.by}
    if tally is not None:
        about |= {**asdict(tally), "own_code": own}
    return Report(
        "top",
        Section(rows, columns, f"Top {len(rows)} by {found.by}"),
        about,
        before=() if tally is None else [*told(run, tally), *own_lines(own)],
    )


SHOWN = ("single", "vkdnw", "layers", "flops", "parameters")
"""The values that a table has beside the one that ranks."""


def as_row(row: "Ranked") -> dict[str, Any]:
    """A network as plain data."""
    spread: Mapping[str, float] = row.spread if len(row.seeds) > 1 else {}
    return {
        "rank": row.rank,
        "architecture": row.architecture,
        **row.values,
        **{f"std_{name}": deviation for name, deviation in spread.items()},
        "seeds": list(row.seeds),
        "equal": list(row.equal),
    }


def told(run: Path, tally: Tally) -> list[str]:
    """How far a run is, and its failures, in lines."""
    listed = [
        f"  failed: {failure.network} seed {failure.seed}: {failure.reason}"
        for failure in tally.failures[:LISTED_FAILURES]
    ]
    return [f"{run}: {describe(tally)}", *listed]


def describe(tally: Tally) -> str:
    """A run in one sentence."""
    equal = tally.architectures - tally.networks
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    return (
        f"{tally.architectures:,} architectures, {tally.networks:,} different networks "
        f"({equal:,} equal to another and not scored again), "
        f"{tally.scored:,} of {tally.tasks:,} scored under {tally.seeds} seed(s){failed}"
    )


def _known(rows: "list[Ranked] | Any", name: str) -> bool:
    return any(name in row.values for row in rows)


def _column(name: str) -> Column:
    """A value, with +- its deviation over seeds where there are several."""
    shown = value(name)
    deviation = f"std_{name}"
    if name in VALUES and name != "vkdnw":
        return shown

    def cell(row: Row) -> str:
        told = shown.cell(row)
        return f"{told} +- {row[deviation]:.4g}" if told and deviation in row else told

    return Column(shown.heading, cell)


def _equal(row: Row) -> str:
    return f"+{len(row['equal'])}" if row["equal"] else ""
