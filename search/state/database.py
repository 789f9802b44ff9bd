"""Opening the SQLite file of a run, for its writer and for readers, and reporting its troubles."""

import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from vkdnw.search import limits
from vkdnw.search.atomic_files import kind_of
from vkdnw.search.errors import StoreError
from vkdnw.search.state import ledger
from vkdnw.search.state.rows import LEDGER
from vkdnw.search.state.schema import APPLICATION_ID, SCHEMA_VERSION, create, expected

STATE_NAME = "state.sqlite"
BUSY_SECONDS = 30.0
"""How long to wait for another connection; only a checkpoint or a recovery ever holds one up."""
GLANCES = 5
"""Looks at a database and its journal before they are said not to belong together: a writer may
be at work between two looks."""


def open_writer(folder: Path) -> sqlite3.Connection:
    """Open the state in `folder`, making it where there is none. The caller holds the lock.

    Journal: WAL, so that readers work during a run and a killed writer leaves whole transactions.
    (On a file system without shared memory SQLite keeps its rollback journal: as durable, but
    readers and the writer wait for each other.)
    synchronous = FULL: in WAL mode, NORMAL does not sync at commit, and a power loss could take
    back evaluations that were reported as finished. FULL costs one sync per transaction,
    milliseconds beside the scoring of a network.
    wal_autocheckpoint = 0: the store writes the journal back by the clock, and notes how far.

    Raises:
        StoreError: the file cannot be read or written, is damaged, or is no state of a run.
    """
    path = folder / STATE_NAME
    with reported(path):
        _refuse_irregular(path)
        if not path.exists():
            _refuse_orphaned_journal(path)
            first = ledger.Ledger()
            create(path, [(LEDGER.insert, [first.row])])
        # Checked through a connection that cannot write: closing a writer would already change
        # a damaged file.
        with closing(_connect(path, "mode=ro")) as connection:
            _check(connection, path)
        return connect_writer(path)


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that writes to a state known to be good. Raises sqlite3.Error."""
    connection = _connect(path, "mode=rw")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def close_unchanged(connection: sqlite3.Connection, path: Path) -> None:
    """Close a writer without writing the journal back, which SQLite does with the last connection
    that closes and can write."""
    with suppress(sqlite3.Error), closing(_connect(path, "mode=ro")) as reader:
        try:
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the journal
        finally:
            connection.close()
    connection.close()


def open_reader(folder: Path) -> sqlite3.Connection:
    """Open the state in `folder` for reading, also while a runner writes it.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    path = folder / STATE_NAME
    with reported(path):
        _refuse_irregular(path)
        if not path.exists():
            raise StoreError(f"{folder} holds no run: it has no {STATE_NAME}")
        connection = _connect_reader(path)
        try:
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def structural_damage(path: Path) -> tuple[str | None, bool]:
    """Faults of a file's pages, and whether an index disagrees with its table.

    The first is None where every page is sound. An index can be made again from its table. Reads
    through a connection of its own, so that a thread may call it.
    """
    with closing(_connect(path, "mode=ro")) as connection:
        problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(50)")]
    others = [text for text in problems if text != "ok" and not _can_be_mended(text)]
    return (" ".join(others[0].split()) if others else None), problems != ["ok"]


def lost_journal(
    path: Path, connection: sqlite3.Connection, was_there: bool, last: tuple[str, int]
) -> str | None:
    """Say that a database's journal is gone, or that the database is an older copy.

    Args:
        path: of the database.
        connection: to it.
        was_there: whether the journal existed before the connection, which makes an empty one.
        last: identity and generation of the last commit made here, read before the connection.
    """
    told = _ledger_of(connection)
    if told is None:
        return None
    if last[0] == told.identity:
        if last[1] <= told.generation:
            return None
        return (
            f"{path} is at commit {told.generation} of the {last[1]} that were made here: its "
            f"journal {journal_of(path).name} is gone, or an older copy was put back. Missing "
            "results are computed again by the same command"
        )
    if was_there or not told.writing:
        return None
    journal = journal_of(path)
    if journal.exists() and journal.stat().st_size > 0:  # a writer has begun in the meantime
        return None
    return (
        f"{path} was not closed by its last writer and its journal {journal_of(path).name} is "
        "gone: results of its last seconds may be missing, and are computed again by the same "
        "command. If the file is a copy, copy the journal too"
    )


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
    """Turn errors of SQLite and the system into a StoreError that names the file and a remedy."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        code = getattr(error, "sqlite_errorcode", None) or 0
        if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise damaged(path, str(error)) from error
        if code & 0xFF == sqlite3.SQLITE_TOOBIG or "too big" in str(error):
            message = limits.exceeded("value-bytes", f"{path} is refused", "the size of one value")
            raise StoreError(message) from error
        raise StoreError(
            f"cannot read or write {path}: {error}; finished results are safe. "
            "Mend the cause (a full disk, a file size limit, permissions) "
            "and give the same command again"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot read or write {path}: {error.strerror or error}") from error


def damaged(path: Path, how: str) -> StoreError:
    """The error about a file that cannot be repaired here."""
    return StoreError(
        f"{path} is damaged ({how}); nothing was changed. Restore it from a backup, rescue the "
        f"readable rows with `sqlite3 {path} .recover`, or choose another --out"
    )


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    # Foreign triggers and views in a schema must not act when it is read.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(limits.limit("value-bytes"), 2**30))
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        # A WAL database needs a writable folder even to be read, unless it is known not to change:
        # it has no journal, so nobody has it open.
        connection.close()
        if journal_of(path).exists():
            raise
        connection = _connect(path, "mode=ro&immutable=1")
    return connection


def _refuse_irregular(path: Path) -> None:
    """Refuse files that would hang or write elsewhere: FIFOs, devices, and journals that are
    links."""
    for file in (path, journal_of(path), path.with_name(path.name + "-shm")):
        try:
            mode = (file.stat() if file == path else file.lstat()).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise StoreError(
                f"{file} is {kind_of(mode)}, not a regular file; remove it or choose another --out"
            )


def _refuse_orphaned_journal(path: Path) -> None:
    journal = journal_of(path)
    if journal.exists():
        raise StoreError(
            f"{path} is missing but its journal {journal.name} is there: put the file back, "
            "or choose another --out"
        )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    _check_identity(connection, path)
    _check_journal(connection, path)
    _check_schema(connection, path)


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file but no state of a run; choose another --out")
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {schema}, this vkdnw reads {SCHEMA_VERSION}: "
            "use the vkdnw that made it, or choose another --out"
        )


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse tables, views and triggers that are not those of a run, by name."""
    found = set(
        connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchmany(100)
    )
    strange = sorted(f"{kind} {name!r:.60}" for kind, name, *_ in found - expected())
    missing = sorted(f"{kind} {name!r}" for kind, name, *_ in expected() - found)
    if strange or missing:
        raise StoreError(
            f"{path} is refused: its tables are not those of a run ("
            + "; ".join(
                [f"unexpected {one}" for one in strange[:3]]
                + [f"missing or changed {one}" for one in missing[:3]]
            )
            + "). Restore it from a backup, or choose another --out"
        )


def _check_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database beside a journal that was written for another one, or for a later one."""
    journal = journal_of(path)
    for _ in range(GLANCES):
        if not journal.exists() or journal.stat().st_size == 0:
            return
        database, through_journal = _ledger_alone(path), _ledger_of(connection)
        if database is None or through_journal is None:
            return  # damage of another kind, which is told as such
        if ledger.belong_together(database, through_journal):
            return
        time.sleep(0.05)
    raise StoreError(
        f"{path} and its journal {journal.name} do not belong together: the journal was written "
        "for another database or for a later copy of this one; nothing was changed. If the "
        f"database is a backup that was put back, move {journal.name} and {path.name}-shm away and "
        "give the same command again: it goes on from the backup"
    )


def _ledger_alone(path: Path) -> ledger.Ledger | None:
    """The ledger in the database file, whatever its journal holds."""
    with suppress(sqlite3.Error), closing(_connect(path, "mode=ro&immutable=1")) as connection:
        return ledger.read(connection)
    return None


def _ledger_of(connection: sqlite3.Connection) -> ledger.Ledger | None:
    with suppress(sqlite3.Error):
        return ledger.read(connection)
    return None


def _can_be_mended(problem: str) -> bool:
    """Whether an index, or a value that no row of ours has, is the problem."""
    return any(
        text in problem
        for text in (
            "missing from index",
            "wrong # of entries in index",
            "non-unique entry in index",
            "constraint failed in",
            "NULL value in",
            "NUMERIC value in",
            "TEXT value in",
        )
    )
