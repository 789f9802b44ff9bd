"""One row that counts the committed rows of a state, so that loss is noticed from outside.

Every commit raises `generation` and notes how many rows each table has. When the journal has been
written back into the database, the next commit notes up to which generation (`checkpointed`). A
journal therefore tells which database it belongs to: the one of the same identity that holds at
least that generation. `writing` is 1 in the database while a process that writes has it open; if
there is no journal then, it was lost.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vkdnw.search.errors import StoreError
from vkdnw.search.state.rows import COUNTED, LEDGER, Row, parse_json


@dataclass(frozen=True)
class Ledger:
    """The ledger's row."""

    identity: str = field(default_factory=lambda: secrets.token_hex(16))
    generation: int = 0
    checkpointed: int = 0
    writing: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by table; a table that is not named has none."""

    @property
    def row(self) -> Row:
        counts = json.dumps(dict(self.counts), sort_keys=True)
        told = (self.identity, self.generation, self.checkpointed, self.writing)
        return LEDGER.sealed([(1, *told, counts)])[0]

    def after(self, added: Mapping[str, int], checkpointed: int) -> "Ledger":
        """The ledger of the next commit, which adds so many rows to each table."""
        counts = {
            name: self.counts.get(name, 0) + added.get(name, 0) for name in {*self.counts, *added}
        }
        return replace(
            self, generation=self.generation + 1, checkpointed=checkpointed, counts=counts
        )


def read(connection: sqlite3.Connection) -> Ledger | None:
    """The ledger, or None where its row is damaged or missing. Raises sqlite3.Error."""
    rows = connection.execute(LEDGER.select).fetchmany(2)
    told = LEDGER.opened(rows) if len(rows) == 1 else None
    if told is None:
        return None
    ((_, identity, generation, checkpointed, writing, counts),) = told
    try:
        numbers = parse_json(counts, "the ledger", dict)
    except StoreError:
        return None
    if not all(type(number) is int for number in numbers.values()):
        return None
    return Ledger(identity, generation, checkpointed, writing, numbers)


def write(connection: sqlite3.Connection, ledger: Ledger) -> None:
    """Replace the ledger's row, in the transaction that is open."""
    connection.execute("DELETE FROM ledger")
    connection.execute(LEDGER.insert, ledger.row)


def lost_rows(ledger: Ledger, found: Mapping[str, int]) -> list[str]:
    """The tables that have other numbers of rows than were committed, in words."""
    told = {table.name: ledger.counts.get(table.name, 0) for table in COUNTED}
    return [
        f"{name} has {found[name]:,} rows of {told[name]:,} that were written"
        for name in told
        if name in found and found[name] != told[name]
    ]


def belong_together(database: Ledger, through_journal: Ledger) -> bool:
    """Whether the database file and the rows read through its journal are of one state.

    Args:
        database: as the file alone says.
        through_journal: as SQLite reads it, with the journal.
    """
    return (
        database.identity == through_journal.identity
        and through_journal.checkpointed <= database.generation <= through_journal.generation
    )
