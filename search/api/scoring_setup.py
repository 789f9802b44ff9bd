"""From the options of a call to its space, configuration, devices and workers."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from vkdnw.ops.library import native
from vkdnw.runtime.memory import in_bytes
from vkdnw.search import provenance
from vkdnw.search.api.options import PROCESSES, RESERVED, PathLike, SearchOptions, SpaceLike
from vkdnw.search.cluster.start_executor import RayStart
from vkdnw.search.configuration import Configuration, Json, Settings, parse_scalars
from vkdnw.search.devices import MEMORY, Devices, find_devices, kind_of_device, spread
from vkdnw.search.errors import ArgumentError
from vkdnw.search.session import Session
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.search_space import SearchSpace, settings_of
from vkdnw.search.spaces.selection import subsets
from vkdnw.search.state.store import Inputs
from vkdnw.search.tasks import Scored, Task


@dataclass(frozen=True)
class Setup:
    """How the networks of a run are scored, and where."""

    space: SearchSpace
    configuration: Configuration
    devices: Devices
    workers: int
    note: str | None = None
    """A remark on the run for the user."""
    address: str | None = None
    """Of the Ray cluster that scores; None for processes of this machine. `workers` is then for
    each of its machines, 0 for as many as its cores keep busy."""
    mixed: bool = False
    """Of a cluster, take machines whose scores differ in the last bits."""
    task_timeout: float | None = None
    """Seconds that a network may take in a worker."""

    def _cluster(self, inputs: Inputs) -> RayStart | None:
        """Starts the executor of the cluster; None for processes of this machine."""
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
            settings: of the run.
            seeds: of weights and inputs.
            names: the values to compute.
            finish: makes the function of a worker from a scorer.
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
            scorers=[
                finish(Scorer(space, configuration, name, self.devices.at_once))
                for name in spread(self.devices, self.workers)
            ],
            in_this_process=self.workers == 0 and self.address is None,
            note=self.note,
            task_timeout=self.task_timeout,
            cluster=self._cluster(inputs),
            own_code={**provenance.of_space(space), **provenance.of_proxies(names)},
        )

    def settings(self) -> dict[str, Json]:
        """The settings that a run records of it."""
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
        """A setting of runs on a machine without compiled ops, since plain ones round differently.

        On a cluster it depends on the machines; their probe scores give their class.
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


def set_up(options: SearchOptions) -> Setup:
    """The setup of a call, with every check that needs no network to be run.

    Raises:
        ArgumentError, ValueError: an argument is refused.
    """
    space = registry.space(options.space, **options.sizes)
    taken = RESERVED.intersection(settings_of(space))
    if taken:
        raise ArgumentError(
            f"the space {space.name!r} has a size called {min(taken)!r}, which is an option of "
            "every search; rename the field"
        )
    if options.task_timeout is not None and not options.task_timeout > 0:
        raise ArgumentError(f"task_timeout must be more than 0 seconds, got {options.task_timeout}")
    address = ray_address(options.executor)
    devices = (find_devices if address is None else kind_of_device)(options.device)
    configuration = _configuration(options, space, devices)
    made = partial(
        Setup,
        space,
        configuration,
        devices,
        mixed=options.mixed,
        task_timeout=options.task_timeout,
    )
    if address is not None:
        if _only_here(space) or options.workers == 0:
            raise ArgumentError(
                f"executor={options.executor!r}: the space has to be in a module that every "
                "machine can import, and workers at least 1"
            )
        return made(options.workers or 0, address=address)
    count = devices.workers(options.workers, len(os.sched_getaffinity(0)))
    if count and _only_here(space):
        note = (
            f"{type(space).__name__} is defined in __main__, which worker processes cannot import: "
            "networks are scored in this process; put it into a module to use all cores"
        )
        return made(0, note)
    return made(count, _low_rank(space, configuration))


def _configuration(options: SearchOptions, space: SearchSpace, devices: Devices) -> Configuration:
    """An argument that is not given is the space's default, or the general one."""
    names = [field.name for field in fields(Configuration) if field.name != "max_memory"]
    given = {name: getattr(options, name) for name in names}
    given |= {"data": _text(options.data), "images": _text(options.images)}
    own = {name: value for name, value in defaults(space).items() if name in names}
    return Configuration(
        **own | {name: value for name, value in given.items() if value is not None},
        max_memory=in_bytes(options.max_memory) or MEMORY[devices.kind],
    )


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
    """The space's own defaults of arguments."""
    found: Mapping[str, Any] = getattr(space, "defaults", {})
    return found


def _text(path: PathLike | None) -> str | None:
    """A path as a run records it."""
    return None if path is None else str(path)


def _low_rank(space: SearchSpace, configuration: Configuration) -> str | None:
    """A remark where the batch is too small for the spectrum of a network with many tensors."""
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
