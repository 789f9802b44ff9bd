"""Everything that a machine needs to score, as one value that is sent to it once."""

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vkdnw.search.cluster.shipped_files import unpack
from vkdnw.search.configuration import Configuration
from vkdnw.search.devices import find_devices, spread
from vkdnw.search.errors import ExecutorError
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.tasks import Scored, Task

DATA_FIELDS = ("data", "images")
"""Fields of a configuration that name files of the driver's machine."""


@dataclass(frozen=True)
class Shipment:
    """Makes the workers of the machine on which it is called.

    The images are those of the driver's files: they travel along, and their digests are compared.
    """

    space: SearchSpace
    configuration: Configuration
    device: str
    workers: int | None
    """On each device; None for as many as the cores of the machine keep busy."""
    inputs: Mapping[int, Mapping[str, str]]
    """Of each seed, the SHA-256 of the networks' inputs."""
    archives: Mapping[str, bytes]
    """By field of the configuration, the files as a tar archive."""

    def __call__(self, cores: int) -> Sequence[Callable[[Task], Scored]]:
        """The function of each worker, on a machine that lends so many cores.

        Raises ValueError where the machine has not the device.
        """
        devices = find_devices(self.device)
        count = devices.workers(self.workers, cores)
        configuration = self._unpacked()
        return [
            UnloadedScorer(self.space, configuration, name, devices.at_once, self.inputs)
            for name in spread(devices, max(1, count))
        ]

    def _unpacked(self) -> Configuration:
        """The configuration with files of this machine."""
        found: dict[str, Any] = {}
        for field, archive in self.archives.items():
            found[field] = str(unpack(archive))
        return replace(self.configuration, **found)


@dataclass(frozen=True)
class UnloadedScorer:
    """A `Scorer` that is on its way to a worker, where it is unpickled as one.

    It does not load torch, so that the process that sends it need not.
    """

    space: SearchSpace
    configuration: Configuration
    device: str
    at_once: int
    inputs: Mapping[int, Mapping[str, str]]

    def __call__(self, task: Task) -> Scored:
        load, arguments = self.__reduce__()
        return load(*arguments)(task)

    def __reduce__(self) -> tuple[Callable[..., Callable[[Task], Scored]], tuple[Any, ...]]:
        return _loaded, (self.space, self.configuration, self.device, self.at_once, self.inputs)


def _loaded(
    space: SearchSpace,
    configuration: Configuration,
    device: str,
    at_once: int,
    inputs: Mapping[int, Mapping[str, str]],
) -> Callable[[Task], Scored]:
    """Raises ExecutorError where this machine makes other inputs of the driver's files."""
    from vkdnw.search.inputs.seeded import input_digests
    from vkdnw.search.scoring import Scorer

    for seed, expected in inputs.items():
        if input_digests(configuration, space.resolution, seed) != dict(expected):
            raise ExecutorError(
                f"the inputs of seed {seed} differ from the driver's; torch or the image library "
                "draws or decodes otherwise here"
            )
    return Scorer(space, configuration, device, at_once)


def shipment(
    space: SearchSpace,
    configuration: Configuration,
    device: str,
    workers: int | None,
    inputs: Mapping[int, Mapping[str, str]],
) -> Shipment:
    """Reads the driver's files. Raises OSError where one cannot be read."""
    archives = {
        field: _packed(Path(path))
        for field in DATA_FIELDS
        if (path := getattr(configuration, field)) is not None
    }
    return Shipment(space, configuration, device, workers, inputs, archives)


def _packed(path: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return buffer.getvalue()
