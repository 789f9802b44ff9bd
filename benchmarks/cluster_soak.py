"""Runs on a Ray cluster whose machines are killed and joined at random: is anything lost or other?

    python benchmarks/cluster_soak.py [--rounds 4] [--networks 200]

The cluster is on this machine: a head without cores, and nodes of one core each. Runs of a list and
of an evolution take turns. Until a run ends, every few seconds a node is killed, a node joins, or a
worker or an actor is killed. Its record is then compared to the last bit with that of the same
command on one machine, and each task has to be on record once. Exit code 1 where one differs.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from soaking.runs import record

SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False}
MOST_NODES = 3
PAUSE_SECONDS = (3.0, 12.0)
EVENTS = ("node killed", "node killed", "node joins", "node joins", "worker killed", "actor killed")
OURS = {
    "worker killed": b"vkdnw.search.executors.worker",
    "actor killed": b"ray::_Actor",
}
"""Part of the command line of the processes that an event kills one of."""


def command(kind: str, networks: int) -> list[str]:
    if kind == "list":
        return ["search", "nb201", "--sample", str(networks), "--batch-size", "16"]
    evolve = ["--evolve", "--evaluations", str(networks // 2), "--in-flight", "8"]
    return ["search", "mobilenetv2", *evolve, "--flops", "450M", "--batch-size", "4"]


class Machines:
    """The nodes of the cluster, and what is done to them."""

    def __init__(self, draws: random.Random) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
        self.nodes: list[Any] = [self.cluster.add_node(num_cpus=1, **SMALL)]
        self.draws = draws
        self.done: Counter[str] = Counter()

    def disturb(self) -> None:
        event = self.draws.choice(EVENTS)
        if event == "node killed" and self.nodes:
            node = self.nodes.pop(self.draws.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
        elif event == "node joins" and len(self.nodes) < MOST_NODES:
            self.nodes.append(self.cluster.add_node(num_cpus=1, **SMALL))
        elif event in OURS and (found := processes(OURS[event])):
            os.kill(self.draws.choice(found), signal.SIGKILL)
        else:
            return
        self.done[event] += 1


def processes(part: bytes) -> list[int]:
    """Those of this soak: its token is in their environment."""
    ours = os.environ["RAY_AUTH_TOKEN_PATH"].encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                matches = part in (entry / "cmdline").read_bytes()
                if matches and ours in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def evaluations(folder: Path) -> tuple[int, int]:
    """Evaluations on record, and the tasks that they are of."""
    with sqlite3.connect(folder / "state.sqlite") as connection:
        query = "SELECT count(*), count(DISTINCT network_id || ' ' || seed) FROM evaluations"
        (counts,) = connection.execute(query)
    return counts


def one_run(kind: str, networks: int, folder: Path, machines: Machines) -> bool:
    """Whether the run has the record of an undisturbed one."""
    words = [str(Path(sys.executable).with_name("vkdnw")), *command(kind, networks)]
    alone = folder / f"{kind}-alone"
    if not alone.exists():
        subprocess.run([*words, "--workers", "1", "--out", str(alone)], check=True)
    disturbed = Path(tempfile.mkdtemp(dir=folder, prefix=f"{kind}-"))
    log = disturbed / "log"
    begun, before = time.monotonic(), machines.done.copy()
    with log.open("wb") as told:
        driver = subprocess.Popen(
            [*words, "--ray", machines.cluster.address, "--out", str(disturbed)],
            stdout=told,
            stderr=told,
        )
        while driver.poll() is None:
            time.sleep(machines.draws.uniform(*PAUSE_SECONDS))
            machines.disturb()
    same = record(str(disturbed)) == record(str(alone))
    count, different = evaluations(disturbed)
    notes = Counter(
        word for word in log.read_text().split() if word in ("joined", "lost", "waiting")
    )
    print(
        f"{kind}: exit {driver.returncode} after {time.monotonic() - begun:.0f} s, "
        f"{count} evaluations of {different} tasks, "
        f"{'same record to the bit' if same else 'ANOTHER RECORD'}; "
        f"{dict(machines.done - before)}; the log says {dict(notes)}",
        flush=True,
    )
    return same and count == different and driver.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the events")
    parser.add_argument("--folder", type=Path, help="for runs and logs; a temporary one by default")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
    machines = Machines(random.Random(arguments.seed))
    kinds = ("list", "evolution")
    try:
        rounds = range(arguments.rounds)
        sound = [one_run(kinds[i % 2], arguments.networks, folder, machines) for i in rounds]
    finally:
        machines.cluster.shutdown()
    print(f"{sum(sound)} of {len(sound)} runs as on one machine; {dict(machines.done)}")
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main())
