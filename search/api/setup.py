"""From the arguments of a call to what a run needs: space, configuration, devices, workers."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from vkdnw.ops.library import NativeLibraryError, native
from vkdnw.runtime.memory import in_bytes
from vkdnw.search import provenance
from vkdnw.search.cluster.start import RayStart
from vkdnw.search.configuration import Configuration, Json, Settings, parse_scalars
from vkdnw.search.devices import MEMORY, Devices, find_devices, kind_of_device, spread
from vkdnw.search.errors import ArgumentError, RunError
from vkdnw.search.evaluation import Scored, Task
from vkdnw.search.evolution.plan import Plan
from vkdnw.search.session import Session
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.search_space import SearchSpace, settings_of
from vkdnw.search.spaces.selection import subsets
from vkdnw.search.state.store import Inputs

SpaceLike = str | type[Any] | SearchSpace
"""A name, `module:class`, a class, or a space."""
PathLike = str | Path
PROCESSES = "processes"
"""The executor of one machine."""

RESERVED = frozenset(
    {
        *(field.name for field in fields(Configuration)),
        *Plan().settings(),
        *("space_from", "architectures", "seeds", "proxies", "workers", "device", "out", "sample"),
        *("all", "arch", "sample_seed", "evolve", "flops", "parameters", "layers", "depth"),
        *("within", "latency_table", "latency_file", "latency_column", "latency_fit"),
        *("latency", "rank_by", "seed", "progress", "on_result", "executor", "mixed"),
        *("task_timeout", "kernels"),
    }
)
"""Settings of a run and arguments of a search, which a space cannot have as names of sizes."""


@contextmanager
def refused_arguments() -> Iterator[None]:
    """Let what is wrong with an argument be an error of this package."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, NativeLibraryError) as error:
        raise ArgumentError(str(error)) from error


@dataclass(frozen=True)
class Setup:
    """What every way of searching needs."""

    space: SearchSpace
    configuration: Configuration
    devices: Devices
    workers: int
    note: str | None = None
    """What the user should know of how it will be run."""
    address: str | None = None
    """Of the Ray cluster that scores; None for processes of this machine. `workers` is then for
    each of its machines, 0 for as many as its cores keep busy."""
    mixed: bool = False
    """Of a cluster, take machines whose scores differ in the last bits."""
    task_timeout: float | None = None
    """Seconds that a network may take in a worker."""

    def _cluster(self, inputs: Inputs) -> RayStart | None:
        """What starts the executor of the cluster, if one is to score."""
        if self.address is None:
            return None
        (device,) = self.devices.names
        return RayStart(
            self.address,
            self.space,
            self.configuration,
            device,
            self.workers or None,
            inputs,
            self.mixed,
            self.task_timeout,
        )

    def session(
        self,
        folder: Path,
        settings: Settings,
        seeds: Iterable[int],
        names: Sequence[str],
        finish: Callable[[Any], Callable[[Task], Scored]] = lambda scorer: scorer,
    ) -> Session:
        """A session that scores under these seeds.

        Args:
            folder: of the run.
            settings: what it is asked for.
            seeds: of weights and inputs.
            names: the values to compute.
            finish: makes what a worker applies of a scorer.
        """
        from vkdnw.search.inputs.seeded import input_digests  # these load torch
        from vkdnw.search.scoring import Scorer

        space, configuration = self.space, self.configuration
        inputs = {
            seed: input_digests(configuration, space.resolution, seed, space.classes)
            for seed in seeds
        }
        return Session(
            folder=folder,
            settings=settings,
            inputs=inputs,
            scorers=spread(Scorer(space, configuration), self.devices, self.workers, finish),
            in_this_process=self.workers == 0 and self.address is None,
            note=self.note,
            task_timeout=self.task_timeout,
            cluster=self._cluster(inputs),
            own_code={**provenance.of_space(space), **provenance.of_proxies(names)},
        )

    def settings(self) -> dict[str, Json]:
        """What a run records of it."""
        place = registry.place_of(self.space)
        return {
            **settings_of(self.space),
            **({} if place is None else {"space_from": place}),
            **self.configuration.settings(),
            **self.devices.settings(),
            **self._kernels(),
            "workers": self.workers,
        }

    def _kernels(self) -> dict[str, Json]:
        """What binds a run where this machine has no compiled ops: plain ones round differently.

        On a cluster its machines decide; their scores tell which class of machines they are.
        """
        return {} if self.address is not None or native() else {"kernels": "plain"}


def split_subset(which: SpaceLike, words: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The sizes among the words, and the subset that one of them asks for: `live=True`.

    Raises ArgumentError for two subsets.
    """
    kind = registry.space_class(which) if isinstance(which, str) else which
    offered = subsets(kind)
    asked = [name for name in offered if words.get(name)]
    if len(asked) > 1:
        raise ArgumentError(f"{' and '.join(asked)} are two subsets; ask for one")
    sizes = {name: value for name, value in words.items() if name not in offered}
    return sizes, asked[0] if asked else None


def set_up(
    which: SpaceLike,
    sizes: Mapping[str, Any],
    device: str,
    workers: int | None,
    max_memory: int | str | None,
    executor: str = PROCESSES,
    mixed: bool = False,
    task_timeout: float | None = None,
    **configured: Any,
) -> Setup:
    """Everything checked that can be checked before anything is run.

    Args:
        which: the space.
        sizes: of the space.
        device: `cpu`, `cuda` or `cuda:N`.
        workers: processes on each device; None for what the cores can keep busy.
        max_memory: bytes of a worker's intermediate results, or a text such as `1GiB`.
        executor: `processes` of this machine, or `ray`, see :func:`ray_address`.
        mixed: of a cluster, take machines whose scores differ in the last bits.
        task_timeout: seconds that a network may take in a worker; None for as long as it wants.
        **configured: fields of `Configuration`; None is the space's default, or the general one.

    Raises:
        ArgumentError, ValueError: what is wrong with an argument.
    """
    space = registry.space(which, **sizes)
    taken = RESERVED.intersection(settings_of(space))
    if taken:
        raise ArgumentError(
            f"the space {space.name!r} has a size called {min(taken)!r}, which is an option of "
            "every search; rename the field"
        )
    if task_timeout is not None and not task_timeout > 0:
        raise ArgumentError(f"task_timeout must be more than 0 seconds, got {task_timeout}")
    address = ray_address(executor)
    devices = find_devices(device) if address is None else kind_of_device(device)
    given = {**defaults(space), **{k: v for k, v in configured.items() if v is not None}}
    memory = in_bytes(max_memory) or MEMORY[devices.kind]
    known = Configuration.__dataclass_fields__
    configuration = Configuration(
        **{name: value for name, value in given.items() if name in known},
        max_memory=memory,
    )
    made = partial(Setup, space, configuration, devices, mixed=mixed, task_timeout=task_timeout)
    if address is not None:
        if _only_here(space) or workers == 0:
            raise ArgumentError(
                f"executor={executor!r}: the space has to be in a module that every machine can "
                "import, and workers at least 1"
            )
        return made(workers or 0, address=address)
    count = devices.workers(workers, len(os.sched_getaffinity(0)))
    if count and _only_here(space):
        note = (
            f"{type(space).__name__} is defined in __main__, which worker processes cannot import: "
            "networks are scored in this process; put it into a module to use all cores"
        )
        return made(0, note)
    return made(count, _low_rank(space, configuration))


def ray_address(executor: str) -> str | None:
    """Where the Ray cluster is: `ray` for RAY_ADDRESS or the one on this machine, `ray:HOST:PORT`.

    None where processes of this machine score. Raises ArgumentError for another text.
    """
    kind, colon, address = executor.partition(":")
    if kind == "ray" and bool(colon) == bool(address):
        return address or "auto"
    if executor != PROCESSES:
        raise ArgumentError(
            f"executor={executor!r}: expected 'processes', 'ray' or 'ray:HOST:PORT'"
        )
    return None


def defaults(space: SearchSpace) -> Mapping[str, Any]:
    """What the space says of arguments that are not given."""
    found: Mapping[str, Any] = getattr(space, "defaults", {})
    return found


def text_of(path: PathLike | None) -> str | None:
    """A path as a run records it."""
    return None if path is None else str(path)


def _low_rank(space: SearchSpace, configuration: Configuration) -> str | None:
    """What to say where the batch cannot fill the spectrum of a network with many tensors."""
    kind, numbers = parse_scalars(configuration.scalars)
    scalars = numbers.get("tensors", 0) if kind in ("first", "sampled") else 0
    rank = configuration.batch_size * (space.classes - 1)
    if rank >= scalars:
        return None
    return (
        f"note: batch_size={configuration.batch_size} gives the Fisher matrix a rank of at most "
        f"B (C - 1) = {rank}, less than its {scalars} scalars: zero eigenvalues move the score "
        f"with the batch; {math.ceil(scalars / (space.classes - 1))} images or more fill it"
    )


def _only_here(space: SearchSpace) -> bool:
    return type(space).__module__ == "__main__" and "__main__" in sys.modules
