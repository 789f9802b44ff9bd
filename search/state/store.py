"""The state of a run: one SQLite file, written by one runner.

Tables and their meaning: `schema`. Reading a run: `results`.
"""

import json
import os
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vkdnw.search import configuration
from vkdnw.search.configuration import Difference, Json, Settings
from vkdnw.search.errors import ConfigurationDiffers, StoreError
from vkdnw.search.evaluation import Asked, Failure, Scored, Task
from vkdnw.search.state.database import STATE_NAME, open_writer, reported, transaction
from vkdnw.search.state.lock import hold

Inputs = Mapping[int, Mapping[str, str]]
"""What all networks see under a seed: the SHA-256 of each input, by the input's name."""
NetworkSeed = tuple[str, int]


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def open_store(folder: Path) -> Iterator["Store"]:
    """Open the run in `folder` for its only writer; the folder and the state are made if need be.

    Raises:
        RunLocked: another runner has it.
        StoreError: it cannot be written, is damaged, or is no run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
    with hold(folder):
        connection = open_writer(folder)
        try:
            yield Store(connection, folder / STATE_NAME)
        finally:
            connection.close()


@dataclass(frozen=True)
class _Session:
    versions: Settings
    settings: Settings


class Store:
    """Writes a run. Whatever a method has returned from is on disk."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._session = 0

    def begin(self, settings: Settings, versions: Mapping[str, Json], inputs: Inputs) -> list[str]:
        """Open a session under these settings and inputs.

        The first session's binding settings become the run's, and a seed's first inputs those it
        stands for. Returns the versions that differ from the last session's, as sentences: scores
        may round differently now.

        Raises:
            ConfigurationDiffers: the run was begun with others; the message names every one.
        """
        with self._transaction():
            last = self._last_session()
            self._settle_configuration(settings)
            self._settle_inputs(inputs, settings, last)
            cursor = self._connection.execute(
                "INSERT INTO sessions (started_at, pid, versions, settings) VALUES (?, ?, ?, ?)",
                (now(), os.getpid(), json.dumps(dict(versions)), json.dumps(dict(settings))),
            )
            self._session = cursor.lastrowid or 0
        before = last.versions if last else versions
        return [str(found) for found in configuration.differences(before, versions)]

    def ask(self, asked: Iterable[Asked], seeds: Sequence[int], names: Sequence[str]) -> None:
        """Note which values are to be computed. Asking again changes nothing."""
        asked = list(asked)
        with self._transaction():
            self._insert("OR IGNORE INTO networks (network)", ((one.network,) for one in asked))
            self._connection.executemany(
                "INSERT OR IGNORE INTO architectures (architecture, network_id) "
                "SELECT ?, id FROM networks WHERE network = ?",
                ((one.architecture, one.network) for one in asked),
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO counts (architecture_id, name, value) "
                "SELECT id, ?, ? FROM architectures WHERE architecture = ?",
                (
                    (name, float(value), one.architecture)
                    for one in asked
                    for name, value in one.counts.items()
                ),
            )
            self._connection.executemany(
                "INSERT OR IGNORE INTO asked (architecture_id, seed, name) "
                "SELECT id, ?, ? FROM architectures WHERE architecture = ?",
                (
                    (seed, name, one.architecture)
                    for one in asked
                    for seed in seeds
                    for name in names
                ),
            )

    def recorded(self) -> Mapping[NetworkSeed, set[str]]:
        """The names of the values on record, of every network under every seed."""
        found: defaultdict[NetworkSeed, set[str]] = defaultdict(set)
        for network, seed, name in self._rows(
            "SELECT network, seed, name FROM scores JOIN networks ON networks.id = network_id"
        ):
            found[network, seed].add(name)
        return found

    def failed(self) -> set[NetworkSeed]:
        """The networks and seeds that were tried in vain at some time."""
        return set(
            self._rows(
                "SELECT DISTINCT network, seed FROM failures "
                "JOIN networks ON networks.id = network_id"
            )
        )

    def has_scores(self) -> bool:
        """Whether anything at all was scored, now or in an earlier session."""
        with reported(self._path):
            row = self._connection.execute("SELECT EXISTS (SELECT * FROM evaluations)").fetchone()
        return bool(row[0])

    def record(
        self,
        scored: Sequence[tuple[Task, Scored]] = (),
        failed: Sequence[tuple[Task, Failure]] = (),
    ) -> None:
        """Write results and failures, in one transaction."""
        with self._transaction():
            for task, result in scored:
                self._record_scored(self._network_id(task), task.seed, result)
            self._insert(
                "INTO failures (network_id, seed, session_id, at, reason, details)",
                (
                    (
                        self._network_id(task),
                        task.seed,
                        self._session,
                        now(),
                        failure.reason,
                        failure.details,
                    )
                    for task, failure in failed
                ),
            )

    def _record_scored(self, network: int, seed: int, result: Scored) -> None:
        cursor = self._connection.execute(
            "INSERT INTO evaluations (network_id, seed, session_id, started_at, seconds, fallback) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                network,
                seed,
                self._session,
                result.started_at,
                result.seconds,
                json.dumps(result.fallback),
            ),
        )
        evaluation = cursor.lastrowid
        self._insert(
            "INTO scores (network_id, seed, name, value, reason, evaluation_id)",
            (
                (network, seed, name, value, result.reasons.get(name), evaluation)
                for name, value in result.values.items()
            ),
        )
        self._insert(
            "INTO arrays (network_id, seed, name, data, evaluation_id)",
            (
                (network, seed, name, struct.pack(f"<{len(array)}d", *array), evaluation)
                for name, array in result.arrays.items()
            ),
        )

    def _network_id(self, task: Task) -> int:
        row = self._connection.execute(
            "SELECT id FROM networks WHERE network = ?", (task.network,)
        ).fetchone()
        if row is None:
            raise ValueError(f"{task.network!r} was scored but never asked for")
        return int(row[0])

    def _settle_configuration(self, settings: Settings) -> None:
        rows = self._connection.execute("SELECT key, value FROM configuration").fetchall()
        if not rows:
            items = configuration.binding(settings).items()
            self._insert(
                "INTO configuration (key, value)", ((key, json.dumps(v)) for key, v in items)
            )
            return
        stored = {key: json.loads(value) for key, value in rows}
        self._refuse("configuration", configuration.differences(stored, settings))

    def _settle_inputs(self, inputs: Inputs, settings: Settings, last: "_Session | None") -> None:
        stored: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for seed, name, digest in self._connection.execute("SELECT seed, name, sha256 FROM inputs"):
            stored[seed][name] = digest
        # An input that only one side has counts: it changes what some proxies read.
        differing = [
            replace(difference, key=f"sha256 of the {difference.key} of seed {seed}")
            for seed, named in inputs.items()
            if seed in stored
            for difference in configuration.differences(stored[seed], named)
        ]
        if differing and last:
            differing[:0] = [
                Difference(key, last.settings.get(key), settings.get(key))
                for key in ("data", "images")
                if last.settings.get(key) != settings.get(key)
            ]
        self._refuse("input", differing)
        self._insert(
            "OR IGNORE INTO inputs (seed, name, sha256)",
            ((seed, name, d) for seed, named in inputs.items() for name, d in named.items()),
        )

    def _refuse(self, what: str, found: Sequence[Difference]) -> None:
        if found:
            raise ConfigurationDiffers(
                f"{self._path.parent} was begun with another {what} "
                f"({'; '.join(map(str, found))}): ask for the stored one or choose another --out"
            )

    def _last_session(self) -> "_Session | None":
        row = self._connection.execute(
            "SELECT versions, settings FROM sessions ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return _Session(json.loads(row[0]), json.loads(row[1])) if row else None

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with reported(self._path):
            return self._connection.execute(query).fetchall()

    def _insert(self, into: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Insert rows; `into` ends with the columns in parentheses."""
        marks = ", ".join("?" * (into.count(",") + 1))
        self._connection.executemany(f"INSERT {into} VALUES ({marks})", rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with reported(self._path), transaction(self._connection):
            yield
