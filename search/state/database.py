"""Opening the SQLite file of a run, for its writer and for readers, and reporting its troubles."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from vkdnw.search.errors import StoreError
from vkdnw.search.state.schema import APPLICATION_ID, SCHEMA_VERSION, create

STATE_NAME = "state.sqlite"
BUSY_SECONDS = 30.0
"""How long to wait for another connection; only a checkpoint or a recovery ever holds one up."""


def open_writer(folder: Path) -> sqlite3.Connection:
    """Open the state in `folder`, making it where there is none. The caller holds the lock.

    Journal: WAL, so that readers work during a run and a killed writer leaves whole transactions.
    (On a file system without shared memory SQLite keeps its rollback journal: as durable, but
    readers and the writer wait for each other.)
    synchronous = FULL: in WAL mode, NORMAL does not sync at commit, and a power loss could take
    back evaluations that were reported as finished. FULL costs one sync per transaction,
    milliseconds beside the scoring of a network.

    Raises:
        StoreError: the file cannot be read or written, is damaged, or is no state of a run.
    """
    path = folder / STATE_NAME
    with reported(path):
        if not path.exists():
            _refuse_orphaned_journal(path)
            create(path)
        # Checked through a connection that cannot write: closing a writer would already change
        # a damaged file.
        with _closing(_connect(path, "mode=ro")) as connection:
            _check_identity(connection, path)
            _check_integrity(connection, path)
        connection = _connect(path, "mode=rw")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_reader(folder: Path) -> sqlite3.Connection:
    """Open the state in `folder` for reading, also while a runner writes it.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        raise StoreError(f"{folder} holds no run: it has no {STATE_NAME}")
    with reported(path):
        connection = _connect_reader(path)
        _check_identity(connection, path)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; committed and on disk when the context ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise into a StoreError that names the file and a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_damage(error):
            raise _damaged(path, str(error)) from error
        raise StoreError(
            f"cannot read or write {path}: {error}; what was finished before is safe. "
            "Mend the cause (a full disk, a file size limit, permissions) "
            "and give the same command again"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot read or write {path}: {error.strerror or error}") from error


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        # A WAL database needs a writable folder even to be read, unless it is known not to change:
        # it has no journal, so nobody has it open.
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = _connect(path, "mode=ro&immutable=1")
    return connection


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()


def _refuse_orphaned_journal(path: Path) -> None:
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        raise StoreError(
            f"{path} is missing but its journal {journal.name} is there: put the file back, "
            "or choose another --out"
        )


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        raise _damaged(path, "it is empty")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file but no state of a run; choose another --out")
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {schema}, this vkdnw reads {SCHEMA_VERSION}: "
            "use the vkdnw that made it, or choose another --out"
        )


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, " ".join(verdict.split()))


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} is damaged ({how}); nothing was changed. Restore it from a backup, rescue what "
        f"can be read with `sqlite3 {path} .recover`, or choose another --out"
    )
