"""Ray as the engine: one actor a machine, pinned to it, with all of its cores and GPUs.

Ray has three duties: it lists the machines, carries answers, and notices that a
machine is gone. It restarts nothing by itself, so that every loss is seen here.
"""

import os
import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vkdnw.search.cluster.interface import MachineLostError, Reply, Unfit
from vkdnw.search.cluster.machine import PooledMachine
from vkdnw.search.cluster.shipped_files import remove_all
from vkdnw.search.errors import ExecutorError

SILENT_SECONDS = 20.0
"""After which a head that answers no question is taken for dead; Ray itself ends the process 60 s
after it has lost its head."""
INLINE_BYTES = 64 * 1024
"""Arguments up to this size travel with a call; Ray puts what is longer than 100 KiB into its store
by itself, for each call anew."""
LOOK_SECONDS = 0.2
"""How often the head is asked which machines there are."""


class RayCluster:
    """A Ray cluster that is up.

    Args:
        address: "auto" for the cluster of this machine (or of RAY_ADDRESS), or "HOST:PORT".
        arguments: of `PooledMachine` after its cores, sent to each machine.

    Raises:
        ExecutorError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, arguments: Sequence[Any]) -> None:
        self._ray = connect(address)
        packed = pickle.dumps(tuple(arguments))
        # What is put is sent to a machine once. A machine that joins asks for it wherever it was
        # sent, for ten seconds even one that has just died; little is therefore sent with the call.
        self._arguments = packed if len(packed) <= INLINE_BYTES else self._ray.put(packed)
        self._nodes: dict[str, dict[str, Any]] = {}
        self._answered = time.monotonic()
        self._closed = threading.Event()
        self._look()
        threading.Thread(target=self._keep_looking, daemon=True).start()

    def nodes(self) -> Mapping[str, str]:
        silence = time.monotonic() - self._answered
        if silence > SILENT_SECONDS:
            raise ExecutorError(
                f"the head of the Ray cluster has not answered for {silence:.0f} s; recorded "
                "results are kept: start the cluster and give the same command again"
            )
        return {node: str(known["NodeManagerAddress"]) for node, known in self._nodes.items()}

    def start(self, node: str) -> "RayMachine":
        resources = self._nodes[node]["Resources"]
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=node, soft=False
        )
        actor = (
            self._ray.remote(_Actor)
            .options(
                num_cpus=resources.get("CPU", 0),
                num_gpus=resources.get("GPU", 0),
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=pinned,
            )
            .remote(max(1, int(resources.get("CPU", 0))), self._arguments)
        )
        return RayMachine(self._ray, actor)

    def ready(self, replies: Sequence[Reply], timeout: float) -> Sequence[Reply]:
        first, _ = self._ray.wait(list(replies), num_returns=1, timeout=timeout)
        if not first:
            return []
        every, _ = self._ray.wait(list(replies), num_returns=len(replies), timeout=0)
        return list(every)

    def take(self, reply: Reply) -> Any:
        try:
            return self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            raise MachineLostError(f"{type(error).__name__}: {_first_line(error)}") from error

    def close(self) -> None:
        self._closed.set()
        self._ray.shutdown()

    def _keep_looking(self) -> None:
        """In a thread of its own: the question hangs where the head is gone."""
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                continue  # not answered; `nodes` counts the seconds

    def _look(self) -> None:
        self._nodes = {
            node["NodeID"]: node
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0
        }
        self._answered = time.monotonic()


class RayMachine:
    """The handle of a machine's actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    def greet(self) -> Reply:
        return self._actor.greet.remote()

    def exchange(self, tasks: Sequence[Any], patience: float) -> Reply:
        return self._actor.exchange.remote(tasks, patience)

    def cancel(self) -> Reply:
        return self._actor.cancel.remote()

    def close(self) -> Reply:
        return self._actor.close.remote()

    def kill(self) -> None:
        self._ray.kill(self._actor, no_restart=True)


class _Actor:
    """The actor on a machine: a `PooledMachine`, made when it is greeted.

    A module that is missing here is then an answer with a reason, not an actor that dies.
    """

    def __init__(self, cores: int, arguments: bytes) -> None:
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it; the workers decide for themselves
        # Ray heeds the quota of a container, and may miss the cores that a batch system allows.
        self._cores = min(cores, len(os.sched_getaffinity(0)))
        self._arguments = arguments
        self._machine: PooledMachine[Any, Any]

    def greet(self) -> Any:
        try:
            self._machine = PooledMachine(self._cores, *pickle.loads(self._arguments))
        except Exception as error:  # whatever the modules of a space of the user's own raise
            return Unfit(f"{type(error).__name__}: {_first_line(error)}")
        return self._machine.greet()

    def exchange(self, tasks: Sequence[Any], patience: float) -> Any:
        return self._machine.exchange(tasks, patience)

    def cancel(self) -> Any:
        return self._machine.cancel()

    def close(self) -> None:
        try:
            self._machine.close()
        finally:  # of a machine that could not begin, too
            remove_all()


def connect(address: str) -> Any:
    """The module `ray`, connected to a cluster.

    Raises:
        ExecutorError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _import_ray()
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="vkdnw")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ExecutorError(
            f"no Ray cluster at {address!r}, or one with another token than here (~/.ray/"
            f"auth_token): {_first_line(error)}; start one with `ray start --head`, and on each "
            "other machine `ray start --address=HOST:PORT`"
        ) from error
    return ray


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as `ray start` does, and `ray.init` not
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ExecutorError(
            "a cluster needs Ray, which is not installed: pip install 'vkdnw[ray]', on each machine"
        ) from error
    return ray


def _has_token() -> bool:
    """Whether the token of a cluster is where Ray looks for it."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return "RAY_AUTH_TOKEN" in os.environ or file.is_file()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]
