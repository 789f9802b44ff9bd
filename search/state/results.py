"""Reading a run, while it is going on and afterwards: its tasks and their results."""

import math
import sqlite3
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vkdnw.search.configuration import Json
from vkdnw.search.errors import StateWarning, StoreError
from vkdnw.search.state import ledger
from vkdnw.search.state.database import (
    STATE_NAME,
    journal_of,
    lost_journal,
    open_reader,
    reported,
)
from vkdnw.search.state.lock import last_commit
from vkdnw.search.state.rows import (
    ARCHITECTURES,
    ARRAYS,
    ASKED,
    CONFIGURATION,
    COUNTED,
    EVALUATIONS,
    FAILURES,
    MACHINES,
    NETWORKS,
    SCORES,
    SESSIONS,
    Row,
    Table,
    parse_json,
    scan,
    unpack,
)
from vkdnw.search.tasks import Evaluation

DECILES = 9
TOLD = 3
"""The number of damaged rows that a reader's warning names; the writer repairs all."""

_Key = tuple[int, int]  # network id, seed


@dataclass(frozen=True)
class OpenFailure:
    """A task that failed when it was last tried."""

    network: str
    seed: int
    tries: int
    reason: str
    blame: str = "network"
    """network or machine: the latter may well succeed when it is tried again."""


@dataclass(frozen=True)
class Tally:
    """How far a run is. Architectures share networks; a task is a network and a seed."""

    architectures: int
    networks: int
    seeds: int
    tasks: int
    scored: int
    failures: tuple[OpenFailure, ...]
    machine_classes: int = 0
    """Kinds of machines of a cluster that scored; scores of two differ in the last bits."""


class Results:
    """A run, open for reading. Rows whose checksum is wrong are left out, and told of once."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._told: set[str] = set()

    def configuration(self) -> dict[str, Json]:
        """The settings that every command on the run shares."""
        return {
            key: parse_json(f"[{value}]", f"{self._path}, the setting {key!r}", list)[0]
            for key, value in self._rows(CONFIGURATION)
        }

    def settings(self) -> dict[str, Json]:
        """All settings of the last session: the shared ones, and those that may differ."""
        last: dict[str, Json] = {}
        for identity, *_, settings in self._rows(SESSIONS, "ORDER BY id"):
            last = parse_json(settings, f"{self._path}, session {identity}", dict)
        return {**last, **self.configuration()}

    def versions(self) -> dict[str, Json]:
        """The versions of the last session."""
        last: dict[str, Json] = {}
        for identity, _, _, versions, _ in self._rows(SESSIONS, "ORDER BY id"):
            last = parse_json(versions, f"{self._path}, session {identity}", dict)
        return last

    def architectures(self) -> list[str]:
        """Every architecture asked for, in asking order."""
        return [row[1] for row in self._rows(ARCHITECTURES)]

    def evaluations(self) -> list[Evaluation]:
        """Every architecture asked for and scored, under each of its seeds, in asking order."""
        with self._snapshot():
            networks = self._networks()
            architectures = {row[0]: row[1:] for row in self._rows(ARCHITECTURES)}
            asked = sorted({(row[1], row[0]) for row in self._rows(ASKED)})
            values, timing = self._values(), self._timing()
            deciles = self._arrays("deciles")
            incomplete = self._incomplete_tasks()
        found = []
        for seed, place in asked:
            if place not in architectures:
                continue
            architecture, network_id, counts = architectures[place]
            key = (network_id, seed)
            if key not in values or key not in timing or network_id not in networks:
                continue
            if key in incomplete:
                self._tell(f"the record of {architecture!r:.80} under seed {seed} is cut")
                continue
            seconds, fallback = timing[key]
            told = self._counts(architecture, counts)
            found.append(
                Evaluation(
                    architecture,
                    networks[network_id],
                    seed,
                    _with_single({**values[key], **told}),
                    self._checked_deciles(architecture, deciles.get(key, ())),
                    seconds,
                    fallback,
                )
            )
        return found

    def arrays(self, name: str) -> dict[tuple[str, int], tuple[float, ...]]:
        """A kept vector of every task, e.g. `deciles` or `eigenvalues`: (network, seed) -> it."""
        with self._snapshot():
            networks = self._networks()
            found = self._arrays(name)
        return {
            (networks[network], seed): vector
            for (network, seed), vector in found.items()
            if network in networks
        }

    def seconds(self, names: Sequence[str]) -> float:
        """Mean wall time of computing these values of one network under one seed.

        Over those that have all the values which evaluations compute at all (counts follow from the
        string). An evaluation counts whole, with whatever else it computed, and once however many
        of the values came from it. NaN where there is nothing to take a mean of.
        """
        with self._snapshot():
            times = {row[0]: row[5] for row in self._rows(EVALUATIONS)}
            computed: defaultdict[_Key, dict[str, int]] = defaultdict(dict)
            for network, seed, name, _, _, evaluation in self._rows(SCORES):
                if name in names and evaluation in times:
                    computed[network, seed][name] = evaluation
        known = {name for of_task in computed.values() for name in of_task}
        totals = [
            sum(times[evaluation] for evaluation in set(of_task.values()))
            for of_task in computed.values()
            if of_task.keys() == known
        ]
        return sum(totals) / len(totals) if totals else math.nan

    def tally(self) -> Tally:
        """How far the run is."""
        with self._snapshot():
            networks = self._networks()
            architectures = {row[0]: row[2] for row in self._rows(ARCHITECTURES)}
            asked = list(self._rows(ASKED))
            on_record: defaultdict[_Key, set[str]] = defaultdict(set)
            for network, seed, name, *_ in self._rows(SCORES):
                on_record[network, seed].add(name)
            failures = self._open_failures(networks)
        wanted: defaultdict[_Key, set[str]] = defaultdict(set)
        places = set()
        for place, seed, names in asked:
            if place in architectures:
                places.add(place)
                where = f"{self._path}, the tasks of architecture {place}"
                wanted[architectures[place], seed].update(parse_json(names, where, list))
        return Tally(
            architectures=len(places),
            networks=len({network for network, _ in wanted}),
            seeds=len({seed for _, seed in wanted}),
            tasks=len(wanted),
            scored=sum(names <= on_record[key] for key, names in wanted.items()),
            failures=failures,
            machine_classes=self.machine_classes(),
        )

    def machine_classes(self) -> int:
        """How many kinds of machines of a cluster scored, whose values differ in the last bits."""
        return len({kind for _, kind, *_ in self._rows(MACHINES)})

    def _open_failures(self, networks: Mapping[int, str]) -> tuple[OpenFailure, ...]:
        """Failures that no later session has mended; the last reason of each."""
        last_scored: dict[_Key, int] = {}
        for _, network, seed, session, *_ in self._rows(EVALUATIONS):
            last_scored[network, seed] = max(session, last_scored.get((network, seed), 0))
        found: dict[_Key, OpenFailure] = {}
        for _, network, seed, session, _, blame, reason, _ in self._rows(FAILURES, "ORDER BY id"):
            if network not in networks or last_scored.get((network, seed), 0) > session:
                continue
            earlier = found.pop((network, seed), None)  # the order is that of the last tries
            tries = 1 + (earlier.tries if earlier else 0)
            found[network, seed] = OpenFailure(networks[network], seed, tries, reason, blame)
        return tuple(found.values())

    def _networks(self) -> dict[int, str]:
        return dict(self._rows(NETWORKS))

    def _values(self) -> Mapping[_Key, dict[str, float]]:
        found: defaultdict[_Key, dict[str, float]] = defaultdict(dict)
        for network, seed, name, value, _, _ in self._rows(SCORES):
            found[network, seed][name] = math.nan if value is None else value
        return found

    def _timing(self) -> Mapping[_Key, tuple[float, tuple[str, ...]]]:
        """Seconds of all evaluations of a task, and the parameters without a rule."""
        found: dict[_Key, tuple[float, tuple[str, ...]]] = {}
        for identity, network, seed, _, _, seconds, fallback, _ in self._rows(EVALUATIONS):
            before, named = found.get((network, seed), (0.0, ()))
            if fallback != "[]":
                where = f"{self._path}, evaluation {identity}"
                named = max(named, tuple(map(str, parse_json(fallback, where, list))))
            found[network, seed] = (before + seconds, named)
        return found

    def _arrays(self, name: str) -> Mapping[_Key, tuple[float, ...]]:
        """Vectors of a name by task; of several, the last one that was computed."""
        tasks = {row[0]: (row[1], row[2]) for row in self._rows(EVALUATIONS)}
        return {
            tasks[evaluation]: unpack(data)
            for _, evaluation, _, data in self._rows(ARRAYS, "WHERE name = ? ORDER BY id", name)
            if evaluation in tasks
        }

    def _incomplete_tasks(self) -> set[_Key]:
        """Tasks of which an evaluation lacks values or vectors that were written with it."""
        told = {row[0]: (row[1], row[2], row[7]) for row in self._rows(EVALUATIONS)}
        there: Counter[int] = Counter(row[5] for row in self._rows(SCORES))
        # Spectra count without being read; all else only if it is sound, whatever its name has
        # become.
        query = "SELECT evaluation_id, count(*) FROM arrays WHERE name = 'eigenvalues' GROUP BY 1"
        with reported(self._path):
            there.update(dict(self._connection.execute(query).fetchall()))
        there.update(row[1] for row in self._rows(ARRAYS, "WHERE name != 'eigenvalues'"))
        return {
            (network, seed)
            for evaluation, (network, seed, parts) in told.items()
            if there[evaluation] != parts
        }

    def _counts(self, architecture: str, text: str) -> dict[str, float]:
        where = f"{self._path}, the counts of {architecture!r:.80}"
        told = parse_json(text, where, dict)
        if not all(type(value) in (int, float) for value in told.values()):
            raise StoreError(f"{where} are {text!r:.80}, not numbers by name")
        return dict(told)

    def _checked_deciles(self, architecture: str, deciles: tuple[float, ...]) -> tuple[float, ...]:
        if len(deciles) not in (0, DECILES):
            raise StoreError(
                f"{self._path} holds {len(deciles)} deciles of {architecture!r:.80}, not {DECILES}"
            )
        return deciles

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Everything read in the context is of one moment, and no row of it is missing."""
        with reported(self._path):
            self._connection.execute("BEGIN")
        try:
            with reported(self._path):
                told = ledger.read(self._connection)
                found = {table.name: _count(self._connection, table) for table in COUNTED}
            if told is not None:
                for lost in ledger.lost_rows(told, found):
                    self._tell(lost)
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _rows(self, table: Table, where: str = "", *values: object) -> Iterator[Row]:
        damage: list[str] = []
        with reported(self._path):
            yield from scan(self._connection, table, damage, where, *values)
        for row in damage:
            self._tell(f"{row} is damaged and left out")

    def _tell(self, fault: str) -> None:
        """Warn, once of the same thing and once for many."""
        if fault not in self._told and len(self._told) < TOLD:
            warnings.warn(
                f"{self._path}: {fault}; the command that made the run computes lost values again",
                StateWarning,
                stacklevel=2,
            )
        self._told.add(fault)


@contextmanager
def open_results(folder: Path) -> Iterator[Results]:
    """Open the run in `folder` for reading. Raises StoreError where there is none.

    All code that shows values of a run reads them here; the warning of mixed machines is here too.
    """
    path = folder / STATE_NAME
    had_journal, last = journal_of(path).exists(), last_commit(folder)
    connection = open_reader(folder)
    try:
        lost = lost_journal(path, connection, had_journal, last)
        if lost:
            warnings.warn(lost, StateWarning, stacklevel=3)
        results = Results(connection, path)
        if (kinds := results.machine_classes()) > 1:
            told = f"{folder}: {kinds} kinds of machines scored; they differ in the last bits"
            warnings.warn(told, StateWarning, stacklevel=3)
        yield results
    finally:
        connection.close()


def _count(connection: sqlite3.Connection, table: Table) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {table.name}")
    return int(count)


def _with_single(values: dict[str, float]) -> dict[str, float]:
    """Add VKDNW_single, the number of parameter tensors plus VKDNW (Section 4.1 of the paper)."""
    if "layers" in values and "vkdnw" in values:
        return {"single": values["layers"] + values["vkdnw"], **values}
    return values
