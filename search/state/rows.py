"""Rows with checksums: written rows are sealed, read rows are verified, typed and bounded.

A checksum is the CRC-32 of a row's other columns and of its table's name. It finds every single
flipped bit, and misses other damage once in four billion rows; it does not protect against a forged
file; types and bounds do.
"""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from vkdnw.search.errors import StoreError

Row = tuple[Any, ...]

AT_ONCE = 1000
"""Rows that are read at a time."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "REAL": (float,),
    "REAL?": (float, type(None)),
    "TEXT": (str,),
    "TEXT?": (str, type(None)),
    "BLOB": (bytes,),
}


@dataclass(frozen=True)
class Table:
    """A table of the schema, as Python reads and writes it: its columns but for the checksum."""

    name: str
    columns: Mapping[str, str]
    """Name -> type, with a question mark where it may be NULL."""
    key: int
    """So many columns, the first ones, name a row."""
    kinds: tuple[frozenset[type], ...] = field(init=False)
    """The types that each column may have, the checksum's last."""
    start: int = field(init=False)

    def __post_init__(self) -> None:
        kinds = [*(_TYPES[kind] for kind in self.columns.values()), (int,)]
        object.__setattr__(self, "kinds", tuple(map(frozenset, kinds)))
        object.__setattr__(self, "start", zlib.crc32(self.name.encode()))

    @property
    def insert(self) -> str:
        marks = ", ".join("?" * (len(self.columns) + 1))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}, crc) VALUES ({marks})"

    @property
    def select(self) -> str:
        return f"SELECT {', '.join(self.columns)}, crc FROM {self.name}"

    def sealed(self, rows: Iterable[Row]) -> list[Row]:
        """The rows with their checksums. Numbers of REAL columns must be floats and not NaN."""
        rows = list(rows)
        return [(*row, crc) for row, crc in zip(rows, self.checksums(rows), strict=True)]

    def checksums(self, rows: Sequence[Row]) -> list[int]:
        """Without a step of Python's for each row: a run that goes on has a million."""
        if self.name == "arrays" and rows:  # the text of a long array takes longer than the array
            *columns, data = zip(*rows, strict=True)
            rows = list(zip(*columns, map(zlib.crc32, data), map(len, data), strict=True))
        texts = map(str.encode, map(repr, rows))
        return list(map(zlib.crc32, texts, repeat(self.start)))

    def opened(self, rows: Sequence[Row]) -> list[Row] | None:
        """Rows that were read, without their checksums; None unless all are as written."""
        *columns, checksums = zip(*rows, strict=True)
        kinds = [set(map(type, column)) for column in (*columns, checksums)]
        if not all(map(frozenset.issuperset, self.kinds, kinds)):
            return None
        told = list(zip(*columns, strict=True))
        return told if self.checksums(told) == list(checksums) else None

    def describe(self, row: Row) -> str:
        """Name the row in an error."""
        named = zip(self.columns, row[: self.key], strict=False)
        return f"{self.name} ({', '.join(f'{column} {value!r:.60}' for column, value in named)})"


def _table(table: str, key: int, /, **columns: str) -> Table:
    return Table(table, columns, key)


CONFIGURATION = _table("configuration", 1, key="TEXT", value="TEXT")
SESSIONS = _table(
    "sessions", 1, id="INTEGER", started_at="TEXT", pid="INTEGER", versions="TEXT", settings="TEXT"
)
INPUTS = _table("inputs", 2, seed="INTEGER", name="TEXT", sha256="TEXT")
NETWORKS = _table("networks", 2, id="INTEGER", network="TEXT")
ARCHITECTURES = _table(
    "architectures", 2, id="INTEGER", architecture="TEXT", network_id="INTEGER", counts="TEXT"
)
ASKED = _table("asked", 2, architecture_id="INTEGER", seed="INTEGER", names="TEXT")
EVALUATIONS = _table(
    "evaluations",
    3,
    id="INTEGER",
    network_id="INTEGER",
    seed="INTEGER",
    session_id="INTEGER",
    started_at="TEXT",
    seconds="REAL",
    fallback="TEXT",
    parts="INTEGER",
)
SCORES = _table(
    "scores",
    3,
    network_id="INTEGER",
    seed="INTEGER",
    name="TEXT",
    value="REAL?",
    reason="TEXT?",
    evaluation_id="INTEGER",
)
ARRAYS = _table("arrays", 3, id="INTEGER", evaluation_id="INTEGER", name="TEXT", data="BLOB")
FAILURES = _table(
    "failures",
    3,
    id="INTEGER",
    network_id="INTEGER",
    seed="INTEGER",
    session_id="INTEGER",
    at="TEXT",
    blame="TEXT",
    reason="TEXT",
    details="TEXT",
)
MACHINES = Table(
    "machines",
    {"id": "INTEGER", "class": "TEXT", "fingerprint": "TEXT", "session_id": "INTEGER"},
    2,
)
COUNTED = (
    CONFIGURATION,
    SESSIONS,
    INPUTS,
    NETWORKS,
    ARCHITECTURES,
    ASKED,
    EVALUATIONS,
    SCORES,
    ARRAYS,
    FAILURES,
    MACHINES,
)
"""Every table whose rows the ledger counts; parents come before the rows that refer to them."""
LEDGER = _table(
    "ledger",
    1,
    id="INTEGER",
    identity="TEXT",
    generation="INTEGER",
    checkpointed="INTEGER",
    writing="INTEGER",
    counts="TEXT",
)


def scan(
    connection: sqlite3.Connection, table: Table, damage: list[str], where: str = "", *values: Any
) -> Iterator[Row]:
    """The intact rows of a table, without their checksums; others are named in `damage`."""
    for rows in _fetched(connection, f"{table.select} {where}", values):
        told = table.opened(rows)
        if told is not None:
            yield from told
            continue
        for row in rows:
            if (sound := table.opened([row])) is not None:
                yield from sound
            else:
                damage.append(table.describe(row))


def _fetched(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> Iterator[list[Row]]:
    done = 0
    try:
        cursor = connection.execute(query, values)
        while rows := cursor.fetchmany(AT_ONCE):
            yield rows
            done += len(rows)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        # Text that is not UTF-8 is damage to one row, not to all: its checksum is to tell.
        connection.text_factory = lambda data: data.decode(errors="replace")
        if rows := connection.execute(query, values).fetchall()[done:]:
            yield rows


def parse_json(text: str, where: str, kind: type) -> Any:
    """JSON of a column. Raises StoreError, naming the place, for a text that is no JSON or of
    another kind."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where} holds no JSON that can be read ({error})") from error
    if type(value) is not kind:
        raise StoreError(f"{where} holds {text!r:.60} instead of a JSON {kind.__name__}")
    return value


def pack(array: Sequence[float]) -> bytes:
    """A vector as it is stored: little-endian float64."""
    return struct.pack(f"<{len(array)}d", *array)


def unpack(data: bytes) -> tuple[float, ...]:
    """The numbers that `pack` wrote; bytes behind the last whole number are left out."""
    return struct.unpack(f"<{len(data) // 8}d", data[: len(data) // 8 * 8])
