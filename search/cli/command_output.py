"""The output of a command as data: rows of full precision, and their layout for people."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded only by commands that print a data frame
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table for people. Machines get the rows themselves."""

    heading: str
    cell: Callable[[Row], str]
    text: bool = False
    """Text may be shortened, or go below the table; a number is never cut."""


@dataclass(frozen=True)
class Section:
    """A table."""

    rows: Sequence[Row]
    columns: Sequence[Column]
    title: str = ""
    shown: Sequence[Row] | None = None
    """The rows that people are shown, where those are not all."""
    keys: int = 1
    """The number of first columns that are repeated where a wide table is shown in parts."""


@dataclass(frozen=True)
class Report:
    """The output of a command in any format."""

    command: str
    rows: Section
    about: Mapping[str, Any] = field(default_factory=dict)
    """About the rows: the run, the ranking, ..."""
    more: Mapping[str, Section] = field(default_factory=dict)
    """Further tables by name."""
    before: Sequence[str] = ()
    """Lines for people above the table."""
    after: Sequence[str] = ()
    """Lines below it."""

    def data(self) -> dict[str, Any]:
        """The structure of JSON and YAML: `command`, `about`, `rows`, and further tables."""
        more = {name: list(map(dict, section.rows)) for name, section in self.more.items()}
        return {
            "command": self.command,
            "about": dict(self.about),
            "rows": list(map(dict, self.rows.rows)),
            **({"more": more} if more else {}),
        }


def number(key: str, heading: str | None = None, form: str = "{:.4f}", unit: float = 1.0) -> Column:
    """A column of numbers, in a unit; empty where a row has none."""

    def cell(row: Row) -> str:
        value = row.get(key)
        if value is None:
            return ""
        return form.format(value / unit) if math.isfinite(value) else str(value)

    return Column(heading or key, cell)


def text(key: str, heading: str | None = None) -> Column:
    """A column of words; empty where a row has none."""

    def cell(row: Row) -> str:
        value = row.get(key)
        return "" if value is None else str(value)

    return Column(heading or key, cell, text=True)


VALUES: Mapping[str, Column] = {
    "single": number("single"),
    "vkdnw": number("vkdnw"),
    "layers": number("layers", form="{:.0f}"),
    "flops": number("flops", "MFLOPs", "{:.2f}", 1e6),
    "parameters": number("parameters", "params (M)", "{:.3f}", 1e6),
    "depth": number("depth", form="{:.0f}"),
    "latency": number("latency", "latency (ms)", "{:.2f}", 1e-3),
}
"""The columns of values that have a unit or a precision of their own."""


def value(name: str) -> Column:
    """The column of any value on record."""
    return VALUES.get(name) or number(name, form="{:.6g}")


def records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a data frame, as `Section` takes them."""
    return [{str(key): cell for key, cell in row.items()} for row in table.to_dict("records")]


def own_lines(own: Mapping[str, str]) -> list[str]:
    """Where the space and the proxies of a run come from that are not of this package."""
    return [f"  {name}: {place}" for name, place in own.items()]
