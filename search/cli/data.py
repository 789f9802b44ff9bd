"""`vkdnw data`: the published tables, which space uses which, and which of them a folder holds."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vkdnw.search.cli import console, output_formats
from vkdnw.search.cli.command_output import Report, Section

if TYPE_CHECKING:
    from vkdnw.search.published_tables.check import Checked

Place = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PLACE]",
        help="A table, or a folder of tables, to be checked.",
        show_default=False,
    ),
]


def data(
    place: Place = None,
    space: Annotated[
        str | None,
        typer.Option(help="Only tables that this space can use.", show_default="all"),
    ] = None,
    form: output_formats.Format = "table",
    as_json: output_formats.AsJson = False,
) -> None:
    """List the published tables of accuracies and device figures, or check those that you have.

    Says which space can use a table, where it comes from and its licence; with a PLACE, which
    tables are there, and whether every architecture in them is one. Nothing is downloaded: get a
    table where it is published. `vkdnw evaluate RUN --truth TABLE` uses it; so may any other table
    with a column `arch`.
    """
    if place is None:
        _print(published(space), output_formats.chosen(form, as_json))
        return
    from vkdnw.search.published_tables.check import check

    try:
        checked = check(place)
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error), param_hint="PLACE") from error
    chosen = [one for one in checked if space is None or space in one.spaces]
    _print([found(one) for one in chosen], output_formats.chosen(form, as_json))
    if not chosen or any(one.problem for one in chosen):
        raise typer.Exit(1)


def published(space: str | None) -> list[dict[str, Any]]:
    """The published tables, as plain data."""
    from vkdnw.search.published_tables.catalogue import TABLES

    return [
        {
            "table": table.title,
            "spaces": list(table.spaces),
            "rows": list(table.rows),
            "accuracies": list(table.accuracies),
            "devices": list(table.devices),
            "licence": table.licence,
            "source": table.source,
            "url": table.url,
            "note": table.note,
        }
        for table in TABLES
        if space is None or space in table.spaces
    ]


def found(one: "Checked") -> dict[str, Any]:
    """The tables in a folder, as plain data."""
    return {**asdict(one), "path": str(one.path), "state": _state(one)}


def _state(one: "Checked") -> str:
    if one.problem:
        return f"cannot be used: {one.problem}"
    if not one.title:
        return "no published table; usable if it has a column arch"
    if one.rows not in one.expected:
        return f"{one.rows:,} of {' or '.join(f'{n:,}' for n in one.expected)} rows"
    return "complete"


def _print(rows: Sequence[dict[str, Any]], form: output_formats.Form) -> None:
    """A block of lines for each table: a terminal is too narrow for so many columns."""
    if form != "table":
        output_formats.print_report(Report("data", Section(rows, ())), form)
        return
    shown = console.stdout()
    for row in rows:
        heading, *others = row.items()
        console.print_line(shown, _cell(heading[1]))
        for name, value in others:
            if value and name != "problem":
                console.print_line(shown, f"  {name:<11}{_cell(value)}")


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({count:,})" for name, count in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
