"""Everything that a machine needs to score, as one value that is sent to it once."""

import io
import os
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
    """On each device; None for as many as the machine's cores keep busy."""
    inputs: Mapping[int, Mapping[str, str]]
    """Of each seed, the SHA-256 of the networks' inputs."""
    archives: Mapping[str, bytes]
    """By field of the configuration, the files as a tar archive."""

    def __call__(self) -> Sequence[Callable[[Task], Scored]]:
        """The function of each worker.

        Raises:
            ExecutorError: the files that arrived are others.
            ValueError: the machine has not the device.
        """
        from vkdnw.search.inputs.seeded import input_digests
        from vkdnw.search.scoring import Scorer

        configuration = self._unpacked()
        for seed, expected in self.inputs.items():
            found = input_digests(configuration, self.space.resolution, seed)
            if found != dict(expected):
                raise ExecutorError(
                    f"the inputs of seed {seed} differ from the driver's; torch or the image "
                    "library draws or decodes otherwise here"
                )
        devices = find_devices(self.device)
        count = devices.workers(self.workers, len(os.sched_getaffinity(0)))
        return spread(Scorer(self.space, configuration), devices, max(1, count))

    def _unpacked(self) -> Configuration:
        """The configuration with files of this machine."""
        found: dict[str, Any] = {}
        for field, archive in self.archives.items():
            found[field] = str(unpack(archive))
        return replace(self.configuration, **found)


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
