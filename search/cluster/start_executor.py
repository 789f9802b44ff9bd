"""Starts the executor of a cluster for a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vkdnw.search.cluster.executor import ClusterExecutor
from vkdnw.search.cluster.interface import Greeting
from vkdnw.search.cluster.machine_identity import class_of, difference, hexadecimal, probes
from vkdnw.search.cluster.shipping import shipment
from vkdnw.search.configuration import Configuration
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.store import Store
from vkdnw.search.tasks import Scored, Task

Note = Callable[[str], None]


@dataclass(frozen=True)
class Admission:
    """Keeps a run to one class of machines, unless it is told to mix them.

    Machines are of one class where they give the probes the same values to the last bit. The first
    machine of the first session decides; machines that join are on record.
    """

    store: Store
    mixed: bool

    def __call__(self, greeting: Greeting) -> str | None:
        """Why the machine is not used, or None."""
        kind, known = class_of(greeting.probe), self.store.machines()
        if known and not self.mixed and kind not in {of_run for of_run, _ in known}:
            return difference(greeting, known[0][1])
        self.store.note_machine(kind, greeting.fingerprint)
        return None


@dataclass(frozen=True)
class RayStart:
    """How to reach a Ray cluster, and the work of its machines."""

    address: str
    """`auto`, or `HOST:PORT`."""
    space: SearchSpace
    configuration: Configuration
    device: str
    workers: int | None
    inputs: Mapping[int, Mapping[str, str]]
    mixed: bool = False
    task_timeout: float | None = None

    def __call__(self, store: Store, note: Note) -> ClusterExecutor[Task, Scored]:
        """The executor. Raises ExecutorError where there is no cluster."""
        from vkdnw.search.cluster.ray_cluster import RayCluster

        sent: list[Any] = [
            shipment(self.space, self.configuration, self.device, self.workers, self.inputs),
            probes(self.space),
            hexadecimal,
            self.task_timeout,
        ]
        return ClusterExecutor(RayCluster(self.address, sent), Admission(store, self.mixed), note)
