"""`vkdnw proxies`: every training-free score there is, as data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vkdnw.search.cli import console

if TYPE_CHECKING:
    from vkdnw.proxies import Proxy

COLUMNS = ("name", "title", "input", "labels", "batches", "mode", "init", "cost", "released")
"""The columns of the table; JSON has the reference and what is undefined as well."""


def proxies(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the training-free scores: what they read, and how. Higher is better for all."""
    from vkdnw.proxies import PROXIES

    rows = [describe(proxy) for proxy in PROXIES.values()]
    if as_json:
        console.print_json(rows)
        return
    console.stdout().print(table(rows))


def describe(proxy: "Proxy") -> dict[str, Any]:
    """What a proxy is, as plain data."""
    return {
        "name": proxy.name,
        "title": proxy.title,
        "reference": proxy.reference,
        "input": proxy.input,
        "labels": proxy.labels,
        "batches": proxy.batches,
        "mode": proxy.mode,
        "init": proxy.init,
        "cost": proxy.cost,
        "undefined": proxy.undefined,
        "released": proxy.released,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """A row for each proxy; the last column says where the released code departs."""
    shown = Table(header_style="bold")
    for column in COLUMNS:
        heading = "in the released code" if column == "released" else column
        shown.add_column(heading, no_wrap=column == "name")
    for row in rows:
        shown.add_row(*(_cell(row, column) for column in COLUMNS))
    return shown


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    return "" if value in (None, "none", "never") else str(value)
