"""A published table as data: its origin, its columns, its space."""

import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["percent", "higher", "lower"]
"""`percent`: an accuracy in percent, of which alone nDCG is defined. `higher` and `lower`: any
number, of which more or less is better."""
DIRECTIONS: tuple[Direction, ...] = ("percent", "higher", "lower")


@dataclass(frozen=True)
class Column:
    """A column that networks can be compared with."""

    direction: Direction
    means: str
    network: str | None = None
    """Which of the networks that share an encoding it was measured on (`network` of a space)."""
    per: float | None = None
    """Of a device's figure: seconds are ``value * per`` where less is better, and ``per / value``
    where more is; None for a figure that is no time (an energy)."""


@dataclass(frozen=True)
class Table:
    """A published table, recognised by its columns whatever the file is called."""

    file: str
    """Its name in the docs."""
    title: str
    spaces: tuple[str, ...]
    """Whose architectures it has."""
    rows: tuple[int, ...]
    """Of the published file; several where files of the same columns differ."""
    architecture: str
    """How a row's columns make the text of an architecture: ``{arch}``, ``{triangle}:{ops}``."""
    accuracies: Mapping[str, Column]
    devices: Mapping[str, Column] = field(default_factory=dict)
    source: str = ""
    """Where it comes from."""
    url: str = ""
    licence: str = ""
    rows_of: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Space -> column and value of its rows, where a table has several spaces."""
    averaged: bool = False
    """Whether an architecture may be there more than once; the mean is taken."""
    note: str = ""

    @property
    def architecture_columns(self) -> tuple[str, ...]:
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.architecture) if name)

    @property
    def columns(self) -> frozenset[str]:
        """Those by which it is recognised."""
        return frozenset({*self.architecture_columns, *self.accuracies, *self.devices})

    def is_in(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns is this table."""
        return self.columns <= frozenset(columns)


def recognise(columns: Iterable[object], tables: Iterable[Table]) -> Table | None:
    """The table that a file's columns are those of, the one with most; None for a user's own."""
    there = frozenset(map(str, columns))
    found = [table for table in tables if table.is_in(there)]
    return max(found, key=lambda table: len(table.columns), default=None)
