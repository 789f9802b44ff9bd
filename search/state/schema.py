"""The tables of a run's state, and the making of a new one.

What is asked (`architectures`, `asked`: which values under which seeds, on which `inputs`), what is
scored for it (`networks`: equal architectures share one), each act of scoring (`evaluations`: when,
how long, by which session) and its results (`scores`: one row per named value; `arrays`: vectors).
Another proxy is another name in `scores`, from the same or from a later evaluation of the same
network: no table changes for it.

Floats: SQLite's REAL is IEEE float64 and keeps every bit, except that NaN becomes NULL (so an
undefined value is NULL with a reason) and -0.0 becomes 0.0. Arrays are little-endian float64.
"""

import os
import sqlite3
from pathlib import Path

APPLICATION_ID = 0x766B646E  # "vkdn": tells a run's state from any other SQLite file
SCHEMA_VERSION = 2
_MARKS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"

TABLES = """
CREATE TABLE configuration (  -- what every command on this run must share
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL       -- JSON
) WITHOUT ROWID;

CREATE TABLE sessions (       -- one for each time a runner worked on this run
    id         INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    versions   TEXT NOT NULL, -- JSON
    settings   TEXT NOT NULL  -- JSON: all of them, also those that may differ
);

CREATE TABLE inputs (         -- what all networks see under a seed
    seed   INTEGER NOT NULL,
    name   TEXT NOT NULL,     -- batch; images (for the proxies that want labelled ones)
    sha256 TEXT NOT NULL,
    PRIMARY KEY (seed, name)
) WITHOUT ROWID;

CREATE TABLE networks (
    id      INTEGER PRIMARY KEY,
    network TEXT NOT NULL UNIQUE
);

CREATE TABLE architectures (
    id           INTEGER PRIMARY KEY,
    architecture TEXT NOT NULL UNIQUE,
    network_id   INTEGER NOT NULL REFERENCES networks
);
CREATE INDEX architectures_by_network ON architectures (network_id);

CREATE TABLE counts (         -- what the string of an architecture tells without scoring
    architecture_id INTEGER NOT NULL REFERENCES architectures,
    name            TEXT NOT NULL,
    value           REAL NOT NULL,
    PRIMARY KEY (architecture_id, name)
) WITHOUT ROWID;

CREATE TABLE asked (
    architecture_id INTEGER NOT NULL REFERENCES architectures,
    seed            INTEGER NOT NULL,
    name            TEXT NOT NULL, -- of the value
    PRIMARY KEY (architecture_id, seed, name)
) WITHOUT ROWID;

CREATE TABLE evaluations (
    id         INTEGER PRIMARY KEY,
    network_id INTEGER NOT NULL REFERENCES networks,
    seed       INTEGER NOT NULL,
    session_id INTEGER NOT NULL REFERENCES sessions,
    started_at TEXT NOT NULL,
    seconds    REAL NOT NULL,
    fallback   TEXT NOT NULL  -- JSON: parameters differentiated without a rule
);
CREATE INDEX evaluations_by_task ON evaluations (network_id, seed);

CREATE TABLE scores (
    network_id    INTEGER NOT NULL REFERENCES networks,
    seed          INTEGER NOT NULL,
    name          TEXT NOT NULL,
    value         REAL,
    reason        TEXT,       -- why the value is not finite
    evaluation_id INTEGER NOT NULL REFERENCES evaluations,
    PRIMARY KEY (network_id, seed, name),
    CHECK (value IS NOT NULL OR reason IS NOT NULL)
) WITHOUT ROWID;

CREATE TABLE arrays (
    network_id    INTEGER NOT NULL REFERENCES networks,
    seed          INTEGER NOT NULL,
    name          TEXT NOT NULL,
    data          BLOB NOT NULL,
    evaluation_id INTEGER NOT NULL REFERENCES evaluations,
    PRIMARY KEY (network_id, seed, name)
);

CREATE TABLE failures (       -- every try in vain; the same command tries again
    id         INTEGER PRIMARY KEY,
    network_id INTEGER NOT NULL REFERENCES networks,
    seed       INTEGER NOT NULL,
    session_id INTEGER NOT NULL REFERENCES sessions,
    at         TEXT NOT NULL,
    reason     TEXT NOT NULL,
    details    TEXT NOT NULL
);
CREATE INDEX failures_by_task ON failures (network_id, seed);

CREATE VIEW results AS        -- for people with a SQLite shell
SELECT architecture, network, asked.seed, asked.name, value, reason, seconds, started_at
FROM asked
JOIN architectures ON architectures.id = asked.architecture_id
JOIN networks ON networks.id = architectures.network_id
JOIN scores ON scores.network_id = networks.id AND scores.seed = asked.seed
    AND scores.name = asked.name
JOIN evaluations ON evaluations.id = scores.evaluation_id;
"""


def create(path: Path) -> None:
    """Make an empty state at `path`, all at once or not at all.

    The file gets its name when it is complete and on disk. A state that is empty or lacks tables
    is therefore never the trace of an interrupted start, but damage. (No WAL yet: in it the tables
    could stay behind when the file is renamed.) Raises sqlite3.Error and OSError.
    """
    draft = path.with_name(path.name + ".new")
    for leftover in path.parent.glob(draft.name + "*"):
        leftover.unlink()
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN;\n{_MARKS}\n{TABLES}\nCOMMIT;")
    finally:
        connection.close()
    draft.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power loss."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
