"""Everything a state holds, read once and verified: the writer's starting point."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from vkdnw.search.state import ledger as ledgers
from vkdnw.search.state.ledger import Ledger
from vkdnw.search.state.rows import (
    ARCHITECTURES,
    ARRAYS,
    ASKED,
    CONFIGURATION,
    COUNTED,
    EVALUATIONS,
    FAILURES,
    INPUTS,
    MACHINES,
    NETWORKS,
    SCORES,
    SESSIONS,
    Row,
    Table,
    parse_json,
    scan,
)

NetworkSeed = tuple[str, int]


@dataclass
class Survey:
    """The sound rows of a state, and the others."""

    ledger: Ledger | None
    damage: list[str] = field(default_factory=list)
    """Rows that are damaged, or refer to one that is damaged or missing, by name."""
    found: Counter[str] = field(default_factory=Counter)
    """Rows that are there, by table, sound or not."""
    last: dict[str, int] = field(default_factory=dict)
    """The highest id of the tables that have one."""
    configuration: dict[str, str] = field(default_factory=dict)
    """JSON by key."""
    sessions: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Versions and settings, as JSON."""
    inputs: defaultdict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    networks: dict[str, int] = field(default_factory=dict)
    architectures: dict[str, int] = field(default_factory=dict)
    asked: set[tuple[int, int, str]] = field(default_factory=set)
    recorded: defaultdict[NetworkSeed, set[str]] = field(default_factory=lambda: defaultdict(set))
    failed: set[NetworkSeed] = field(default_factory=set)
    machines: list[tuple[str, str]] = field(default_factory=list)
    """Class and fingerprint, as JSON, of a cluster's machines, as they joined."""
    evaluations: int = 0
    sound_evaluations: set[int] = field(default_factory=set)

    @property
    def lost(self) -> list[str]:
        """Tables that have not the rows that were committed, in words."""
        return [] if self.ledger is None else ledgers.lost_rows(self.ledger, self.found)


def survey(connection: sqlite3.Connection) -> Survey:
    """Read and verify every row. Raises sqlite3.Error where pages cannot be read."""
    seen = Survey(ledgers.read(connection))
    if seen.ledger is None:
        seen.damage.append("ledger")
    for table in COUNTED:
        ((seen.found[table.name],),) = connection.execute(f"SELECT count(*) FROM {table.name}")
        if table.columns.get("id"):
            ((last,),) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table.name}")
            seen.last[table.name] = int(last)
    _survey_command(connection, seen)
    names, networks = _survey_asked(connection, seen)
    if seen.damage or seen.lost:
        # A result whose question was damaged is computed again with it: a search that breeds its
        # networks anew knows results by their tasks.
        wanted = {(networks[place], seed) for place, seed, _ in seen.asked}
        _survey_results(connection, seen, names, wanted.__contains__)
    else:
        _survey_results(connection, seen, names, lambda task: True)
    return seen


def sound_rows(connection: sqlite3.Connection, seen: Survey) -> Iterator[tuple[Table, list[Row]]]:
    """The rows of every table that the survey found sound, parents first."""
    networks, architectures = set(seen.networks.values()), set(seen.architectures.values())
    keep: Mapping[str, Callable[[Row], bool]] = {
        ARCHITECTURES.name: lambda row: row[2] in networks,
        ASKED.name: lambda row: row[0] in architectures,
        EVALUATIONS.name: lambda row: row[0] in seen.sound_evaluations,
        SCORES.name: lambda row: row[5] in seen.sound_evaluations,
        ARRAYS.name: lambda row: row[1] in seen.sound_evaluations,
        FAILURES.name: lambda row: row[1] in networks and row[3] in seen.sessions,
        MACHINES.name: lambda row: row[3] in seen.sessions,
    }
    for table in COUNTED:
        kept = keep.get(table.name)
        rows = scan(connection, table, [])
        yield table, table.sealed(row for row in rows if kept is None or kept(row))


def _survey_command(connection: sqlite3.Connection, seen: Survey) -> None:
    seen.configuration = dict(scan(connection, CONFIGURATION, seen.damage))
    for identity, _, _, versions, settings in scan(
        connection, SESSIONS, seen.damage, "ORDER BY id"
    ):
        seen.sessions[identity] = (versions, settings)
    for seed, name, digest in scan(connection, INPUTS, seen.damage):
        seen.inputs[seed][name] = digest
    for _, kind, fingerprint, _ in scan(connection, MACHINES, seen.damage, "ORDER BY id"):
        seen.machines.append((kind, fingerprint))


def _survey_asked(
    connection: sqlite3.Connection, seen: Survey
) -> tuple[Mapping[int, str], Mapping[int, int]]:
    """The names of networks by id, and the networks of architectures, both by id."""
    names: dict[int, str] = dict(scan(connection, NETWORKS, seen.damage))
    seen.networks = {network: identity for identity, network in names.items()}
    known: dict[int, int] = {}
    for row in scan(connection, ARCHITECTURES, seen.damage):
        identity, architecture, network, _ = row
        if network not in names:
            seen.damage.append(f"{ARCHITECTURES.describe(row)}, whose network is not there")
            continue
        known[identity] = network
        seen.architectures[architecture] = identity
    for row in scan(connection, ASKED, seen.damage):
        if row[0] in known:
            seen.asked.add(row)
        else:
            seen.damage.append(f"{ASKED.describe(row)}, whose architecture is not there")
    return names, known


def _survey_results(
    connection: sqlite3.Connection,
    seen: Survey,
    names: Mapping[int, str],
    asked: Callable[[tuple[int, int]], bool],
) -> None:
    """Results of tasks, a network's id and a seed, that were asked for."""
    tasks: dict[int, tuple[int, int]] = {}
    missing: dict[int, int] = {}  # rows of the evaluation that have not been found yet
    for row in scan(connection, EVALUATIONS, seen.damage):
        identity, network, seed, session, *_, count = row
        if network in names and session in seen.sessions and asked((network, seed)):
            tasks[identity], missing[identity] = (network, seed), count
        else:
            seen.damage.append(
                f"{EVALUATIONS.describe(row)}, whose network, session or question is lost"
            )
    values: dict[int, set[str]] = {identity: set() for identity in tasks}
    for row in scan(connection, SCORES, seen.damage):
        network, seed, name, _, _, evaluation = row
        if tasks.get(evaluation) == (network, seed):
            values[evaluation].add(name)
            missing[evaluation] -= 1
        else:
            seen.damage.append(f"{SCORES.describe(row)}, whose evaluation is not there")
    for row in scan(connection, ARRAYS, seen.damage):
        if row[1] in tasks and len(row[3]) % 8 == 0:
            missing[row[1]] -= 1
        else:
            seen.damage.append(f"{ARRAYS.describe(row)}, whose evaluation is not there")
    for evaluation, (network, seed) in tasks.items():
        if not missing[evaluation]:
            seen.sound_evaluations.add(evaluation)
            seen.recorded[names[network], seed] |= values[evaluation]
        else:
            seen.damage.append(
                f"evaluation {evaluation} of {names[network]!r:.80} under seed {seed}, whose rows "
                "are not those that were written"
            )
    seen.evaluations = len(seen.sound_evaluations)
    for row in scan(connection, FAILURES, seen.damage):
        _, network, seed, session, *_ = row
        if network in names and session in seen.sessions:
            seen.failed.add((names[network], seed))
        else:
            seen.damage.append(f"{FAILURES.describe(row)}, whose network or session is not there")


def settings_of_sessions(seen: Survey) -> Mapping[str, object]:
    """The settings of the last session whose row is sound."""
    if not seen.sessions:
        return {}
    _, settings = seen.sessions[max(seen.sessions)]
    told: Mapping[str, object] = parse_json(settings, "the settings of the last session", dict)
    return told
