"""The tables of a run's state, and the making of a new one.

The tasks (`architectures`, `asked`: which values under which seeds, on which `inputs`), the
networks scored for them (`networks`: equal architectures share one), each act of scoring
(`evaluations`: when, how long, by which session) and its results (`scores`: one row per named
value; `arrays`: vectors). Another proxy is another name in `scores`, from the same or from a later
evaluation of the same network: no table changes for it. `machines` are those of a cluster. The
`ledger` counts the rows of the other tables.

Floats: SQLite's REAL is IEEE float64 and keeps every bit, except that NaN becomes NULL (so an
undefined value is NULL with a reason) and -0.0 becomes 0.0. Arrays are little-endian float64.
Every row has a checksum of its other columns (`rows`).
"""

import os
import sqlite3
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from vkdnw.search.atomic_files import flush_folder

APPLICATION_ID = 0x766B646E  # "vkdn": tells a run's state from any other SQLite file
SCHEMA_VERSION = 3
_MARKS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"

TABLES = """
CREATE TABLE ledger (         -- one row: what was committed, and what of it is in this file
    id           INTEGER PRIMARY KEY,
    identity     TEXT NOT NULL,    -- random: tells this state from any other
    generation   INTEGER NOT NULL, -- of the last commit
    checkpointed INTEGER NOT NULL, -- generation up to which the journal was written back
    writing      INTEGER NOT NULL, -- 1 while a process that writes has not closed it
    counts       TEXT NOT NULL,    -- JSON: rows of every other table
    crc          INTEGER NOT NULL
);

CREATE TABLE configuration (  -- what every command on this run must share
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL,      -- JSON
    crc   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (       -- one for each time a runner worked on this run
    id         INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    versions   TEXT NOT NULL, -- JSON
    settings   TEXT NOT NULL, -- JSON: all of them, also those that may differ
    crc        INTEGER NOT NULL
);

CREATE TABLE inputs (         -- what all networks see under a seed
    seed   INTEGER NOT NULL,
    name   TEXT NOT NULL,     -- batch; images (for the proxies that want labelled ones)
    sha256 TEXT NOT NULL,
    crc    INTEGER NOT NULL,
    PRIMARY KEY (seed, name)
) WITHOUT ROWID;

CREATE TABLE networks (
    id      INTEGER PRIMARY KEY,
    network TEXT NOT NULL UNIQUE,
    crc     INTEGER NOT NULL
);

CREATE TABLE architectures (
    id           INTEGER PRIMARY KEY,
    architecture TEXT NOT NULL UNIQUE,
    network_id   INTEGER NOT NULL REFERENCES networks,
    counts       TEXT NOT NULL, -- JSON: what the string alone tells, by name
    crc          INTEGER NOT NULL
);

CREATE TABLE asked (
    architecture_id INTEGER NOT NULL REFERENCES architectures,
    seed            INTEGER NOT NULL,
    names           TEXT NOT NULL, -- JSON: of the values, sorted
    crc             INTEGER NOT NULL,
    PRIMARY KEY (architecture_id, seed, names)
) WITHOUT ROWID;

CREATE TABLE evaluations (
    id         INTEGER PRIMARY KEY,
    network_id INTEGER NOT NULL REFERENCES networks,
    seed       INTEGER NOT NULL,
    session_id INTEGER NOT NULL REFERENCES sessions,
    started_at TEXT NOT NULL,
    seconds    REAL NOT NULL,
    fallback   TEXT NOT NULL,    -- JSON: parameters differentiated without a rule
    parts      INTEGER NOT NULL, -- rows of scores and arrays that it gave
    crc        INTEGER NOT NULL
);

CREATE TABLE scores (
    network_id    INTEGER NOT NULL REFERENCES networks,
    seed          INTEGER NOT NULL,
    name          TEXT NOT NULL,
    value         REAL,
    reason        TEXT,       -- why the value is not finite
    evaluation_id INTEGER NOT NULL REFERENCES evaluations,
    crc           INTEGER NOT NULL,
    PRIMARY KEY (network_id, seed, name),
    CHECK (value IS NOT NULL OR reason IS NOT NULL)
) WITHOUT ROWID;

CREATE TABLE arrays (
    id            INTEGER PRIMARY KEY,
    evaluation_id INTEGER NOT NULL REFERENCES evaluations,
    name          TEXT NOT NULL,
    data          BLOB NOT NULL,
    crc           INTEGER NOT NULL
);

CREATE TABLE failures (       -- every try in vain; the same command tries again
    id         INTEGER PRIMARY KEY,
    network_id INTEGER NOT NULL REFERENCES networks,
    seed       INTEGER NOT NULL,
    session_id INTEGER NOT NULL REFERENCES sessions,
    at         TEXT NOT NULL,
    blame      TEXT NOT NULL, -- network or machine
    reason     TEXT NOT NULL,
    details    TEXT NOT NULL,
    crc        INTEGER NOT NULL
);

CREATE TABLE machines (       -- of a cluster, that scored for this run
    id          INTEGER PRIMARY KEY,
    class       TEXT NOT NULL, -- machines of one class give the same bits
    fingerprint TEXT NOT NULL, -- JSON: versions, build, hardware
    session_id  INTEGER NOT NULL REFERENCES sessions,
    crc         INTEGER NOT NULL
);

CREATE VIEW results AS        -- for people with a SQLite shell
SELECT architecture, network, scores.seed, scores.name, scores.value, reason, seconds, started_at
FROM asked
JOIN json_each(asked.names) AS wanted
JOIN architectures ON architectures.id = asked.architecture_id
JOIN networks ON networks.id = architectures.network_id
JOIN scores ON scores.network_id = networks.id AND scores.seed = asked.seed
    AND scores.name = wanted.value
JOIN evaluations ON evaluations.id = scores.evaluation_id;
"""


def create(path: Path, inserts: Iterable[tuple[str, Iterable[tuple[object, ...]]]] = ()) -> None:
    """Make a state at `path` of these rows, all at once or not at all.

    The file gets its name when it is complete and on disk. A state that is empty or lacks tables
    is therefore never the trace of an interrupted start, but damage. (No WAL yet: in it the tables
    could stay behind when the file is renamed.) A file at `path` is replaced.

    Args:
        path: of the file.
        inserts: statements, each with its rows.

    Raises sqlite3.Error and OSError.
    """
    draft = path.with_name(path.name + ".new")
    for leftover in path.parent.glob(draft.name + "*"):
        leftover.unlink()
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN;\n{_MARKS}\n{TABLES}")
        for statement, rows in inserts:
            connection.executemany(statement, rows)
        connection.execute("COMMIT")
    finally:
        connection.close()
    draft.replace(path)
    flush_folder(path.parent)


@cache
def expected() -> frozenset[tuple[str, str, str, str | None]]:
    """The rows of `sqlite_schema` of a state: type, name, table and SQL of everything in it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.executescript(TABLES)
        return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
    finally:
        connection.close()
