"""Reading a run: everything that is known of what was asked, during the run and after it."""

import json
import math
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vkdnw.search.configuration import Json
from vkdnw.search.evaluation import Evaluation
from vkdnw.search.state.database import STATE_NAME, open_reader, reported

_Key = tuple[int, int]  # network id, seed


@dataclass(frozen=True)
class OpenFailure:
    """A task that failed when it was last tried."""

    network: str
    seed: int
    tries: int
    reason: str


@dataclass(frozen=True)
class Tally:
    """How far a run is. Architectures share networks; a task is a network and a seed."""

    architectures: int
    networks: int
    seeds: int
    tasks: int
    scored: int
    failures: tuple[OpenFailure, ...]


class Results:
    """A run, open for reading."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def configuration(self) -> dict[str, Json]:
        """The settings that every command on the run shares."""
        rows = self._rows("SELECT key, value FROM configuration")
        return {key: json.loads(value) for key, value in rows}

    def settings(self) -> dict[str, Json]:
        """All settings of the last session: the shared ones, and those that may differ."""
        rows = self._rows("SELECT settings FROM sessions ORDER BY id DESC LIMIT 1")
        last: dict[str, Json] = json.loads(rows[0][0]) if rows else {}
        return {**last, **self.configuration()}

    def evaluations(self) -> list[Evaluation]:
        """Every architecture asked for and scored, under each of its seeds, in asking order."""
        scores, counts = self._scores(), self._counts()
        deciles = self.arrays("deciles")
        timing = {
            (network, seed): (seconds, tuple(json.loads(fallback)))
            for network, seed, seconds, fallback in self._rows(
                "SELECT network_id, seed, sum(seconds), max(fallback) FROM evaluations "
                "GROUP BY network_id, seed"
            )
        }
        found = []
        for architecture_id, architecture, network_id, network, seed in self._rows(
            "SELECT a.id, architecture, network_id, network, seed FROM asked "
            "JOIN architectures a ON a.id = architecture_id "
            "JOIN networks n ON n.id = network_id GROUP BY a.id, seed ORDER BY seed, a.id"
        ):
            key = (network_id, seed)
            if key not in scores:
                continue
            values = _with_single({**scores[key], **counts[architecture_id]})
            seconds, fallback = timing[key]
            found.append(
                Evaluation(
                    architecture,
                    network,
                    seed,
                    values,
                    deciles.get((network, seed), ()),
                    seconds,
                    fallback,
                )
            )
        return found

    def arrays(self, name: str) -> dict[tuple[str, int], tuple[float, ...]]:
        """A kept vector of every task, e.g. `deciles` or `eigenvalues`: (network, seed) -> it."""
        return {
            (network, seed): struct.unpack(f"<{len(data) // 8}d", data)
            for network, seed, data in self._rows(
                "SELECT network, seed, data FROM arrays "
                "JOIN networks ON networks.id = network_id WHERE name = ?",
                name,
            )
        }

    def seconds(self, names: Sequence[str]) -> float:
        """Mean wall time of computing these values of one network under one seed.

        Over those that have all the values which evaluations compute at all (counts follow from the
        string). An evaluation counts whole, with whatever else it computed, and once however many
        of the values came from it. NaN where there is nothing to take a mean of.
        """
        marks = ", ".join("?" * len(names))
        ((mean,),) = self._rows(
            "SELECT avg(total) FROM (SELECT sum(seconds) AS total FROM "
            "(SELECT e.id, e.network_id, e.seed, e.seconds, count(*) AS names FROM scores s "
            f"JOIN evaluations e ON e.id = s.evaluation_id WHERE s.name IN ({marks}) "
            "GROUP BY e.id) GROUP BY network_id, seed HAVING sum(names) = "
            f"(SELECT count(DISTINCT name) FROM scores WHERE name IN ({marks})))",
            *names,
            *names,
        )
        return math.nan if mean is None else float(mean)

    def tally(self) -> Tally:
        ((architectures, networks, seeds, tasks, scored),) = self._rows(
            "WITH wanted AS (SELECT DISTINCT network_id, seed, name FROM asked "
            "JOIN architectures ON architectures.id = architecture_id), "
            "tasks AS (SELECT w.network_id, w.seed, count(*) = count(s.name) AS complete "
            "FROM wanted w LEFT JOIN scores s "
            "ON s.network_id = w.network_id AND s.seed = w.seed AND s.name = w.name "
            "GROUP BY w.network_id, w.seed) "
            "SELECT (SELECT count(DISTINCT architecture_id) FROM asked), "
            "count(DISTINCT network_id), count(DISTINCT seed), count(*), "
            "coalesce(sum(complete), 0) FROM tasks"
        )
        return Tally(architectures, networks, seeds, tasks, scored, self._open_failures())

    def _open_failures(self) -> tuple[OpenFailure, ...]:
        """Failures that no later session has mended; the last reason of each."""
        rows = self._rows(
            "SELECT network, f.seed, count(*), max(f.id), reason FROM failures f "
            "JOIN networks ON networks.id = f.network_id "
            "WHERE NOT EXISTS (SELECT * FROM evaluations e WHERE e.network_id = f.network_id "
            "AND e.seed = f.seed AND e.session_id > f.session_id) "
            "GROUP BY f.network_id, f.seed ORDER BY max(f.id)"
        )  # SQLite takes `reason` from the row of max(f.id)
        return tuple(
            OpenFailure(network, s, tries, reason) for network, s, tries, _, reason in rows
        )

    def _scores(self) -> Mapping[_Key, dict[str, float]]:
        found: defaultdict[_Key, dict[str, float]] = defaultdict(dict)
        for network, seed, name, value in self._rows(
            "SELECT network_id, seed, name, value FROM scores"
        ):
            found[network, seed][name] = math.nan if value is None else value
        return found

    def _counts(self) -> Mapping[int, dict[str, float]]:
        found: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for architecture, name, value in self._rows(
            "SELECT architecture_id, name, value FROM counts"
        ):
            found[architecture][name] = value
        return found

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with reported(self._path):
            return self._connection.execute(query, parameters).fetchall()


@contextmanager
def open_results(folder: Path) -> Iterator[Results]:
    """Open the run in `folder` for reading. Raises StoreError where there is none."""
    connection = open_reader(folder)
    try:
        yield Results(connection, folder / STATE_NAME)
    finally:
        connection.close()


def _with_single(values: dict[str, float]) -> dict[str, float]:
    """Add VKDNW_single, the number of parameter tensors plus VKDNW (Section 4.1 of the paper)."""
    if "layers" in values and "vkdnw" in values:
        return {"single": values["layers"] + values["vkdnw"], **values}
    return values
