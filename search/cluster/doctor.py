"""`vkdnw doctor --ray`: the machines of a Ray cluster, and the versions installed on each."""

from dataclasses import dataclass, field
from typing import Any

from vkdnw.search.cluster.machine_identity import fingerprint
from vkdnw.search.cluster.ray_cluster import connect

PATIENCE_SECONDS = 90.0
"""How long a machine may take to answer: its first process starts cold."""


@dataclass(frozen=True)
class Surveyed:
    """One machine of a cluster."""

    address: str
    alive: bool
    cpus: float
    gpus: float
    fingerprint: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    """Why it did not answer, or why it cannot score."""


def survey(address: str) -> list[Surveyed]:
    """Every machine that the cluster has on its list, also those that have left.

    Raises ExecutorError where there is no cluster at the address.
    """
    ray = connect(address)
    try:
        nodes = ray.nodes()
        asked = {node["NodeID"]: _ask(ray, node["NodeID"]) for node in nodes if node["Alive"]}
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=PATIENCE_SECONDS)
        return [_surveyed(ray, node, asked.get(node["NodeID"])) for node in nodes]
    finally:
        ray.shutdown()


def _ask(ray: Any, node: str) -> Any:
    pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(fingerprint).options(num_cpus=0, scheduling_strategy=pinned, max_retries=0)
    return task.remote()


def _surveyed(ray: Any, node: dict[str, Any], reply: Any) -> Surveyed:
    resources = node["Resources"]
    found: dict[str, str] = {}
    problem = None
    if reply is None:
        problem = "it has left the cluster"
    else:
        try:
            found = ray.get(reply, timeout=0)
        except ray.exceptions.GetTimeoutError:
            problem = f"no answer within {PATIENCE_SECONDS:.0f} s"
        except ray.exceptions.RayError as error:
            problem = str(error).strip().splitlines()[-1]
    return Surveyed(
        node["NodeManagerAddress"],
        node["Alive"],
        resources.get("CPU", 0.0),
        resources.get("GPU", 0.0),
        found,
        problem,
    )


def classes(machines: list[Surveyed]) -> dict[tuple[str, ...], list[str]]:
    """Addresses grouped by the versions that can change the last bits of a score."""
    found: dict[tuple[str, ...], list[str]] = {}
    for machine in machines:
        if machine.fingerprint:
            key = tuple(
                machine.fingerprint[name]
                for name in ("vkdnw", "native library", "torch", "ATen capability", "GPU")
            )
            found.setdefault(key, []).append(machine.address)
    return found
