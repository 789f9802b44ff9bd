"""A table as text: for a terminal of any width, or as plain aligned lines for a pipe.

A number is never cut. Where a table is wider than the terminal, long texts leave it first and
stand below, whole, each on a line that can be copied; wider tables are shown in parts.
"""

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vkdnw.search.cli.command_output import Column, Row, Section

LONG = 24
"""Characters of a text that may leave its table; shorter ones stay."""
GAP = 2
"""Spaces between two columns of plain lines."""


def rows(section: Section) -> Sequence[Row]:
    """The table for people."""
    return section.rows if section.shown is None else section.shown


def plain(section: Section) -> list[str]:
    """Lines of aligned columns, whole, whatever their width: a heading and a line for each row."""
    cells = [[column.heading for column in section.columns], *_cells(section, section.columns)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        (" " * GAP)
        .join(
            cell.ljust(width) if column.text else cell.rjust(width)
            for cell, width, column in zip(line, widths, section.columns, strict=True)
        )
        .rstrip()
        for line in cells
    ]
    return [section.title, *lines] if section.title else lines


def show(console: Console, section: Section) -> None:
    """Print a table as fits the terminal."""
    columns = list(section.columns)
    below: list[Column] = []
    while not _fits(console, section, columns) and (longest := _longest(section, columns)):
        columns.remove(longest)
        below.append(longest)
    if not _fits(console, section, columns):
        columns[: section.keys] = [
            shortened(column, max(LONG, console.width // 3)) if column.text else column
            for column in columns[: section.keys]
        ]
    if section.title:
        _line(console, section.title)
    for part in _parts(console, section, columns):
        console.print(_table(section, part))
    for column in below:
        _list(console, section, column)
    for whole, short in zip(section.columns[: section.keys], columns, strict=False):
        for row in rows(section):
            if short.cell(row) != whole.cell(row):
                _line(console, f"{short.cell(row)}: {whole.cell(row)}")


def shortened(column: Column, width: int) -> Column:
    """A column of texts with their middles left out where they are longer than a width."""

    def cell(row: Row) -> str:
        whole = column.cell(row)
        if len(whole) <= width:
            return whole
        begin = (width - 1) // 2
        return f"{whole[:begin]}…{whole[len(whole) - (width - 1 - begin) :]}"

    return Column(column.heading, cell, text=True)


def _line(console: Console, line: str) -> None:
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _parts(console: Console, section: Section, columns: Sequence[Column]) -> list[Sequence[Column]]:
    """The columns in parts that fit, each with the first ones again."""
    keys, left = list(columns[: section.keys]), list(columns[section.keys :])
    parts: list[Sequence[Column]] = []
    while left:
        taken = [left.pop(0)]
        while left and _fits(console, section, [*keys, *taken, left[0]]):
            taken.append(left.pop(0))
        parts.append([*keys, *taken])
    return parts or [keys]


def _fits(console: Console, section: Section, columns: Sequence[Column]) -> bool:
    table = _table(section, columns)
    free = console.options.update(width=100_000, max_width=100_000)
    return console.measure(table, options=free).maximum <= console.width


def _longest(section: Section, columns: Sequence[Column]) -> Column | None:
    """The text column that takes the most room, if it is long enough to leave."""

    def width(column: Column) -> int:
        return max((len(column.cell(row)) for row in rows(section)), default=0)

    texts = [column for column in columns[section.keys :] if column.text and width(column) > LONG]
    return max(texts, key=width, default=None)


def _list(console: Console, section: Section, column: Column) -> None:
    """A text column below its table, after the first column's cells."""
    first = section.columns[0]
    marks = [first.cell(row) for row in rows(section)]
    width = max(map(len, marks), default=0)
    for mark, row in zip(marks, rows(section), strict=True):
        if cell := column.cell(row):
            aligned = mark.ljust(width) if first.text else mark.rjust(width)
            _line(console, f"{aligned}  {cell}")


def _table(section: Section, columns: Sequence[Column]) -> Table:
    shown = Table(
        header_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.text else "right"
        shown.add_column(Text(column.heading), justify=justify, no_wrap=True)
    for cells in _cells(section, columns):
        shown.add_row(*map(Text, cells))
    return shown


def _cells(section: Section, columns: Sequence[Column]) -> list[list[str]]:
    return [[column.cell(row) for column in columns] for row in rows(section)]
