"""Repairs a state: intact rows are kept, the others are named and computed again."""

import json
import shutil
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.search.configuration import FREE_SETTINGS
from vkdnw.search.errors import StoreError
from vkdnw.search.state.database import (
    close_unchanged,
    connect_writer,
    damaged,
    journal_of,
    lost_journal,
    open_writer,
    reported,
    structural_damage,
)
from vkdnw.search.state.ledger import Ledger
from vkdnw.search.state.lock import last_commit
from vkdnw.search.state.rows import CONFIGURATION, LEDGER
from vkdnw.search.state.schema import create
from vkdnw.search.state.verified_contents import Survey, settings_of_sessions, sound_rows, survey

LISTED = 3
"""Damaged rows that a message names."""


@dataclass(frozen=True)
class Opened:
    """A state open for its writer, all of whose rows are sound."""

    connection: sqlite3.Connection
    survey: Survey
    ledger: Ledger
    notes: tuple[str, ...]
    """The faults that were found and mended, for the user."""


def open_sound(folder: Path, path: Path) -> Opened:
    """Open the state in `folder`, verify every row, and mend the faults that can be mended.

    Damaged rows are taken out, with all that depends on them, by writing the sound ones into a new
    file that takes the place of the old one; the old file is kept beside it.

    Raises:
        StoreError: the file cannot be read or written, is damaged in its pages, or is no run.
    """
    had_journal, last = journal_of(path).exists(), last_commit(folder)
    connection = open_writer(folder)
    try:
        with reported(path), ThreadPoolExecutor(1) as beside:
            notes = list(filter(None, [lost_journal(path, connection, had_journal, last)]))
            structure = beside.submit(structural_damage, path)
            try:
                with gc_disabled():  # it would go through all that is read, time and again
                    seen = survey(connection)
            finally:  # damaged pages are told first, whatever became of the rows
                wrong, indices = structure.result()
                if wrong:
                    raise damaged(path, wrong)
        if seen.ledger is not None and not (seen.damage or seen.lost or indices):
            return Opened(connection, seen, seen.ledger, tuple(notes))
        notes.append(_describe(path, seen))
        with reported(path):
            _restore_configuration(path, seen)
            kept = _rebuild(connection, path, seen)
        notes.append(f"the damaged file is kept as {kept.name}")
        with reported(path):
            connection = connect_writer(path)
            seen = survey(connection)
        if seen.ledger is None or seen.damage or seen.lost:
            raise damaged(path, "it could not be mended")
        return Opened(connection, seen, seen.ledger, tuple(notes))
    except BaseException:
        close_unchanged(connection, path)
        raise


def _describe(path: Path, seen: Survey) -> str:
    named = [*seen.lost, *seen.damage] or ["an index"]
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return (
        f"{path} was damaged: {'; '.join(named[:LISTED])}{more}. Sound rows are kept; the "
        "others are computed again"
    )


def _restore_configuration(path: Path, seen: Survey) -> None:
    """Take a damaged setting from the last session, which had to agree with it."""
    told = settings_of_sessions(seen) if seen.found[CONFIGURATION.name] else {}
    lost = seen.found[CONFIGURATION.name] - len(seen.configuration)
    for key, value in told.items():
        if key not in seen.configuration and key not in FREE_SETTINGS:
            seen.configuration[key] = json.dumps(value)
            lost -= 1
    if lost > 0 or (seen.evaluations and not seen.configuration):
        raise StoreError(
            f"{path} is damaged: settings of the run cannot be read, so that its results cannot "
            "be told from others; restore it from a backup, or choose another --out"
        )


def _rebuild(connection: sqlite3.Connection, path: Path, seen: Survey) -> Path:
    """Write the sound rows into a new file in the place of the old one, which is kept."""
    with closing(connection):
        tables = {table.name: (table, rows) for table, rows in sound_rows(connection, seen)}
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tables[CONFIGURATION.name] = (
        CONFIGURATION,
        CONFIGURATION.sealed(seen.configuration.items()),
    )
    counts: Mapping[str, int] = {name: len(rows) for name, (_, rows) in tables.items()}
    ledger = Ledger(counts=counts)
    kept = _keep(path)
    create(
        path,
        [
            (LEDGER.insert, [ledger.row]),
            *((table.insert, rows) for table, rows in tables.values()),
        ],
    )
    return kept


def _keep(path: Path) -> Path:
    """Another name for the file at `path`, which may then be replaced."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        kept.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, kept)
    return kept
