"""How soon a machine that joins a Ray cluster is used, and which parts that has.

    python benchmarks/cluster_join.py [--rounds 3]

A head without cores and a driver wait on this machine; then, one after the other, nodes of two
cores join and leave. Seconds count from the moment that Ray lists a node. For comparison, an empty
actor is started on a node that has just joined, and the parts of a worker's start are measured in a
process of their own. The machine's load matters: seconds on the clock grow with it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vkdnw.search.cluster.executor import ClusterExecutor
from vkdnw.search.cluster.machine_identity import hexadecimal, probes
from vkdnw.search.cluster.ray_cluster import LOOK_SECONDS, RayCluster
from vkdnw.search.cluster.shipping import shipment
from vkdnw.search.configuration import Configuration
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.tasks import Scored, Task

SPACE, CONFIGURATION = NB201(), Configuration()
SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False}
PARTS = """
import time
marks = [time.process_time()]
import torch
marks.append(time.process_time())
import vkdnw.search.scoring
marks.append(time.process_time())
from benchmarks.cluster_join import CONFIGURATION, SPACE, tasks
scorer = vkdnw.search.scoring.Scorer(SPACE, CONFIGURATION)
begun = time.process_time()
for task in tasks(2):
    scorer(task)
    marks.append(time.process_time() - begun + marks[2])
print(*(b - a for a, b in zip(marks, marks[1:])))
"""


def tasks(count: int) -> list[Task]:
    random = Random(1)
    return [Task(SPACE.canonical(SPACE.sample(random)), 0, ("vkdnw",)) for _ in range(count)]


class Join:
    """The moments of one node's way into the cluster, in seconds since Ray listed it."""

    def __init__(self, cluster: Cluster) -> None:
        self.moments: dict[str, float] = {}
        known = alive()
        self.thread = threading.Thread(target=self._watch, args=(known,))
        self.thread.start()
        self.node = cluster.add_node(num_cpus=2, **SMALL)
        self.thread.join()

    def _watch(self, known: set[str]) -> None:
        while not (new := alive() - known):
            time.sleep(0.01)
        self.listed = time.monotonic()
        (self.name,) = new

    def mark(self, moment: str) -> None:
        self.moments.setdefault(moment, time.monotonic() - self.listed)


def alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def remove(cluster: Cluster, join: Join) -> None:
    cluster.remove_node(join.node)
    while join.name in alive():
        time.sleep(0.1)
    time.sleep(2 * LOOK_SECONDS)  # until the engine has seen it, too


def empty_actor(cluster: Cluster) -> Join:
    class Empty:
        def answer(self) -> None: ...

    join = Join(cluster)
    pinned = NodeAffinitySchedulingStrategy(join.name, soft=False)
    actor = ray.remote(Empty).options(num_cpus=2, scheduling_strategy=pinned).remote()
    ray.get(actor.answer.remote())
    join.mark("an empty actor answers")
    return join


class Watched(RayCluster):
    """Tells when an actor is begun."""

    told: Callable[[str], None] = staticmethod(lambda moment: None)

    def start(self, node: str) -> Any:
        self.told("the driver begins with it")
        return super().start(node)


def joined(cluster: Cluster, executor: ClusterExecutor[Task, Scored], engine: Watched) -> Join:
    early: list[tuple[str, float]] = []
    engine.told = lambda moment: early.append((moment, time.monotonic()))
    stop = threading.Event()

    def drive() -> None:
        while not stop.is_set():
            if executor.slots:
                early.append(("it is admitted", time.monotonic()))
            if any(not hasattr(outcome, "blame") for outcome in executor.wait(0.2)):
                early.append(("its first task is done", time.monotonic()))
                return

    thread = threading.Thread(target=drive)
    thread.start()
    join = Join(cluster)
    thread.join(timeout=120)
    stop.set()
    for moment, at in early:
        join.moments.setdefault(moment, at - join.listed)
    return join


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(Path(tempfile.mkdtemp()) / "token")
    os.environ.update({"RAY_worker_niceness": "0"})  # as other processes; Ray's own choice is 15
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    seconds: dict[str, list[float]] = {}
    arguments = [shipment(SPACE, CONFIGURATION, "cpu", None, {}), probes(SPACE), hexadecimal]
    for _ in range(rounds):
        engine = Watched(cluster.address, arguments)
        found = [empty_actor(cluster)]
        remove(cluster, found[0])
        executor: ClusterExecutor[Task, Scored] = ClusterExecutor(
            engine, lambda _: None, lambda _: None
        )
        for task in tasks(20):
            executor.submit(task)
        found.append(joined(cluster, executor, engine))
        remove(cluster, found[1])
        executor.close()
        for join in found:
            for moment, value in join.moments.items():
                seconds.setdefault(moment, []).append(value)
    cluster.shutdown()
    print(f"load average {os.getloadavg()[0]:.1f}; seconds since Ray listed the node, medians")
    for moment, values in seconds.items():
        print(f"{median(values):7.2f}  {moment}   ({', '.join(f'{v:.2f}' for v in values)})")
    runs = [subprocess.check_output([sys.executable, "-c", PARTS], text=True) for _ in range(3)]
    parts = [
        median(column) for column in zip(*(map(float, run.split()) for run in runs), strict=True)
    ]
    print("CPU seconds of a worker: import torch, vkdnw besides, first network, second network")
    print(" ".join(f"{part:7.2f}" for part in parts))


if __name__ == "__main__":
    main()
