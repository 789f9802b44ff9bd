"""The state of a run: one SQLite file, written by one runner.

Tables and their meaning: `schema`. Reading a run: `results`. The record is read once, when
the state is opened, and known from memory from then on: there is one writer.
"""

import json
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from vkdnw.search import configuration
from vkdnw.search.configuration import Difference, Json, Settings
from vkdnw.search.errors import ConfigurationDiffers, StoreError
from vkdnw.search.state import ledger as ledgers
from vkdnw.search.state.database import STATE_NAME, reported, transaction
from vkdnw.search.state.lock import Lock, hold
from vkdnw.search.state.recovery import Opened, open_sound
from vkdnw.search.state.rows import (
    ARCHITECTURES,
    ARRAYS,
    ASKED,
    CONFIGURATION,
    EVALUATIONS,
    FAILURES,
    INPUTS,
    MACHINES,
    NETWORKS,
    SCORES,
    SESSIONS,
    Row,
    Table,
    pack,
    parse_json,
)
from vkdnw.search.tasks import Asked, Failure, Scored, Task

Inputs = Mapping[int, Mapping[str, str]]
"""The inputs of all networks under a seed: the SHA-256 of each, by its name."""
NetworkSeed = tuple[str, int]
CHECKPOINT_SECONDS = 2.0
"""How often the journal is written back into the database: the loss if the journal is lost."""


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def open_store(folder: Path) -> Iterator["Store"]:
    """Open the run in `folder` for its only writer; the folder and the state are made if need be.

    Every row is verified; damaged ones are taken out (`recovery`), and `Store.notes` says so.

    Raises:
        RunLocked: another runner has it.
        StoreError: it cannot be written, is damaged beyond mending, or is no run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
    with hold(folder) as lock:
        path = folder / STATE_NAME
        store = Store(open_sound(folder, path), path, lock)
        try:
            yield store
        finally:
            store.close()


@dataclass(frozen=True)
class _Session:
    versions: Settings
    settings: Settings


class Store:
    """Writes a run. When a method returns, its rows are on disk; `ask_soon` is the exception."""

    def __init__(self, opened: Opened, path: Path, lock: Lock) -> None:
        self.notes = opened.notes
        """The faults that were found and mended when the state was opened."""
        self._connection = opened.connection
        self._path = path
        self._lock = lock
        self._known = opened.survey
        self._ledger = opened.ledger
        self._checkpointed = opened.ledger.checkpointed
        self._checkpoint_at: float | None = None  # when the journal is to be written back
        self._session = 0
        self._unwritten: list[tuple[Table, list[Row]]] = []  # by `ask_soon`

    def begin(self, settings: Settings, versions: Mapping[str, Json], inputs: Inputs) -> list[str]:
        """Open a session under these settings and inputs.

        The first session's binding settings become the run's, and a seed's first inputs those it
        stands for. Where code of one's own comes from (`provenance`) is kept of earlier sessions.
        Returns the versions that differ from the last session's, as sentences: scores may differ.

        Raises:
            ConfigurationDiffers: the run was begun with others; the message names every one.
        """
        last = self._last_session()
        before = last.versions if last else versions
        versions = {**configuration.own_code(before), **versions}
        session = self._next(SESSIONS)
        told = (now(), os.getpid(), json.dumps(dict(versions)), json.dumps(dict(settings)))
        new_settings = self._settled_configuration(settings)
        new_inputs = self._settled_inputs(inputs, settings, last)
        with self._transaction() as insert:
            insert(CONFIGURATION, new_settings)
            insert(INPUTS, new_inputs)
            insert(SESSIONS, [(session, *told)])
        self._known.configuration.update(new_settings)
        for seed, name, digest in new_inputs:
            self._known.inputs[seed][name] = digest
        self._known.sessions[session] = told[2:]
        self._known.last[SESSIONS.name] = self._session = session
        both = {name: versions[name] for name in versions if name in before}
        return [str(found) for found in configuration.differences(before, both)]

    def ask(self, asked: Iterable[Asked], seeds: Sequence[int], names: Sequence[str]) -> None:
        """Note which values are to be computed. Asking again changes nothing."""
        self.ask_soon(asked, seeds, names)
        if self._unwritten:
            with self._transaction():
                pass

    def ask_soon(self, asked: Iterable[Asked], seeds: Sequence[int], names: Sequence[str]) -> None:
        """As `ask`, with the next rows that are written: a search that breeds asks before every
        result, and asks the same again should this be lost."""
        known = self._known
        wanted = json.dumps(sorted(set(names)))
        networks: dict[str, int] = {}
        architectures: dict[str, int] = {}
        new_architectures: list[Row] = []
        new_asked: dict[Row, None] = {}
        next_network, next_architecture = self._next(NETWORKS), self._next(ARCHITECTURES)
        for one in asked:
            network = known.networks.get(one.network) or networks.get(one.network)
            if network is None:
                network = networks[one.network] = next_network + len(networks)
            place = known.architectures.get(one.architecture) or architectures.get(one.architecture)
            if place is None:
                place = architectures[one.architecture] = next_architecture + len(architectures)
                counts = {name: float(value) for name, value in one.counts.items()}
                new_architectures.append((place, one.architecture, network, json.dumps(counts)))
            for seed in seeds:
                if (place, seed, wanted) not in known.asked:
                    new_asked[place, seed, wanted] = None
        if not new_asked:
            return
        self._unwritten += [
            (NETWORKS, [(identity, network) for network, identity in networks.items()]),
            (ARCHITECTURES, new_architectures),
            (ASKED, list(new_asked)),
        ]
        known.networks.update(networks)
        known.architectures.update(architectures)
        known.asked.update(new_asked)
        known.last[NETWORKS.name] += len(networks)
        known.last[ARCHITECTURES.name] += len(architectures)

    def recorded(self) -> Mapping[NetworkSeed, set[str]]:
        """The names of the values on record, of every network under every seed."""
        return self._known.recorded

    def failed(self) -> set[NetworkSeed]:
        """The networks and seeds that were tried in vain at some time."""
        return self._known.failed

    def has_scores(self) -> bool:
        """Whether anything at all was scored, now or in an earlier session."""
        return self._known.evaluations > 0

    def record(
        self,
        scored: Sequence[tuple[Task, Scored]] = (),
        failed: Sequence[tuple[Task, Failure]] = (),
    ) -> None:
        """Write results and failures, in one transaction."""
        if not scored and not failed:
            return
        evaluations, scores, arrays = self._result_rows(scored)
        failures = self._failure_rows(failed)
        with self._transaction() as insert:
            insert(EVALUATIONS, evaluations)
            insert(SCORES, scores)
            insert(ARRAYS, arrays)
            insert(FAILURES, failures)
        known = self._known
        for task, result in scored:
            known.recorded[task.network, task.seed].update(result.values)
        known.failed.update((task.network, task.seed) for task, _ in failed)
        known.evaluations += len(evaluations)
        for table, rows in ((EVALUATIONS, evaluations), (ARRAYS, arrays), (FAILURES, failures)):
            known.last[table.name] += len(rows)

    def machines(self) -> Sequence[tuple[str, Mapping[str, Json]]]:
        """Class and fingerprint of the cluster's machines that have scored for this run."""
        where = f"{self._path}, a machine"
        return [(kind, parse_json(text, where, dict)) for kind, text in self._known.machines]

    def note_machine(self, kind: str, fingerprint: Mapping[str, Json]) -> None:
        """Record a machine of a cluster. Noting it again changes nothing."""
        row = (kind, json.dumps(dict(fingerprint), sort_keys=True))
        if row in self._known.machines:
            return
        with self._transaction() as insert:
            insert(MACHINES, [(self._next(MACHINES), *row, self._session)])
        self._known.machines.append(row)
        self._known.last[MACHINES.name] += 1

    def tend(self) -> None:
        """Write the journal back into the database where that is due; call it now and then."""
        if self._checkpoint_at is not None and time.monotonic() >= self._checkpoint_at:
            self._checkpoint()

    def close(self) -> None:
        """Write the journal back and close the state; recorded results are on disk in any case."""
        if self._ledger.writing:
            # A disk that is full keeps the journal, which is then written back by the next writer.
            with suppress(sqlite3.Error, StoreError):
                with self._transaction(writing=0):
                    pass
                self._checkpoint()
        with suppress(sqlite3.Error):
            self._connection.close()

    def _result_rows(
        self, scored: Sequence[tuple[Task, Scored]]
    ) -> tuple[list[Row], list[Row], list[Row]]:
        """The rows of evaluations, scores and arrays."""
        evaluations: list[Row] = []
        scores: list[Row] = []
        arrays: list[Row] = []
        evaluation, array = self._next(EVALUATIONS), self._next(ARRAYS)
        for task, result in scored:
            network = self._network_id(task)
            parts = len(result.values) + len(result.arrays)
            fallback = json.dumps(result.fallback) if result.fallback else "[]"
            told = (result.started_at, float(result.seconds), fallback, parts)
            evaluations.append((evaluation, network, task.seed, self._session, *told))
            for name, value in result.values.items():
                kept = None if math.isnan(value) else float(value) + 0.0  # SQLite knows no -0.0
                reason = result.reasons.get(name)
                scores.append((network, task.seed, name, kept, reason, evaluation))
            for name, vector in result.arrays.items():
                arrays.append((array, evaluation, name, pack(vector)))
                array += 1
            evaluation += 1
        return evaluations, scores, arrays

    def _failure_rows(self, failed: Sequence[tuple[Task, Failure]]) -> list[Row]:
        first, at = self._next(FAILURES), now()
        return [
            (
                identity,
                self._network_id(task),
                task.seed,
                self._session,
                at,
                failure.blame,
                failure.reason,
                failure.details,
            )
            for identity, (task, failure) in enumerate(failed, start=first)
        ]

    def _next(self, table: Table) -> int:
        return self._known.last[table.name] + 1

    def _network_id(self, task: Task) -> int:
        identity = self._known.networks.get(task.network)
        if identity is None:
            raise ValueError(f"{task.network!r} was scored but never asked for")
        return identity

    def _settled_configuration(self, settings: Settings) -> list[Row]:
        """The rows to add; none where the run has its configuration already."""
        known = self._known.configuration
        if not known:
            binding = configuration.binding(settings)
            return [(key, json.dumps(value)) for key, value in binding.items()]
        stored = {
            key: _json_value(text, f"{self._path}, the setting {key!r}")
            for key, text in known.items()
        }
        self._refuse("configuration", configuration.differences(stored, settings))
        return []

    def _settled_inputs(
        self, inputs: Inputs, settings: Settings, last: "_Session | None"
    ) -> list[Row]:
        """The rows to add."""
        stored = self._known.inputs
        # An input that only one side has counts: it changes the input of some proxies.
        differing = [
            replace(difference, key=f"sha256 of the {difference.key} of seed {seed}")
            for seed, named in inputs.items()
            if stored.get(seed)
            for difference in configuration.differences(stored[seed], named)
        ]
        if differing and last:
            differing[:0] = [
                Difference(key, last.settings.get(key), settings.get(key))
                for key in ("data", "images")
                if last.settings.get(key) != settings.get(key)
            ]
        self._refuse("input", differing)
        return [
            (seed, name, digest)
            for seed, named in inputs.items()
            for name, digest in named.items()
            if name not in stored.get(seed, {})
        ]

    def _refuse(self, subject: str, found: Sequence[Difference]) -> None:
        if found:
            raise ConfigurationDiffers(
                f"{self._path.parent} was begun with another {subject} "
                f"({configuration.refusal(found)}): ask for the stored one or choose another --out"
            )

    def _last_session(self) -> "_Session | None":
        sessions = self._known.sessions
        if not sessions:
            return None
        versions, settings = sessions[max(sessions)]
        where = f"{self._path}, the last session"
        return _Session(parse_json(versions, where, dict), parse_json(settings, where, dict))

    @contextmanager
    def _transaction(self, writing: int = 1) -> Iterator["_Inserter"]:
        """Insert rows; all of them are committed, with the ledger, when the context ends."""
        inserter = _Inserter(self._connection)
        after = replace(self._ledger, writing=writing)
        with reported(self._path), transaction(self._connection):
            for table, rows in self._unwritten:
                inserter(table, rows)
            yield inserter
            after = after.after(inserter.added, self._checkpointed)
            ledgers.write(self._connection, after)
        self._unwritten.clear()
        first = not self._ledger.writing and writing
        self._ledger = after
        self._lock.note(after.identity, after.generation)
        if self._checkpoint_at is None:
            self._checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
        if first:  # from here on, the database itself says that it has a journal
            self._checkpoint()
        else:
            self.tend()

    def _checkpoint(self) -> None:
        """Write the journal back; a reader that is in its way leaves it for the next time."""
        with reported(self._path):
            (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            self._checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
        else:
            self._checkpointed = self._ledger.generation
            self._checkpoint_at = None


class _Inserter:
    """Inserts rows into tables, and counts them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.added: Counter[str] = Counter()

    def __call__(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            self._connection.executemany(table.insert, table.sealed(rows))
            self.added[table.name] += len(rows)


def _json_value(text: str, where: str) -> Json:
    """Any JSON. Raises StoreError for a text that is none."""
    value: list[Json] = parse_json(f"[{text}]", where, list)
    return value[0] if len(value) == 1 else value
