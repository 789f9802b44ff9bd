"""The devices that score, and the workers on each."""

from collections.abc import Sequence
from dataclasses import dataclass

from vkdnw.search.configuration import Json

MEMORY = {"cpu": 2**30, "cuda": 2**32}
"""Bytes of a worker's intermediate results by kind of device, where the command does not say."""
WORKERS_OF_A_GPU = 8
"""Launching the kernels of one small network keeps a core busy and a GPU mostly idle, so several
workers share a GPU: each is a process with a stream of its own."""
AT_ONCE = {"cpu": 1, "cuda": 32}
"""Tasks that a worker is given together, by kind of device: on a GPU networks share launches."""


@dataclass(frozen=True)
class Devices:
    """Devices of one kind, by torch's names."""

    kind: str
    names: tuple[str, ...]

    def settings(self) -> dict[str, Json]:
        """The device as a setting of a run: scores of another kind of device round differently.

        The CPU goes without saying, as in runs from before there was a choice.
        """
        return {} if self.kind == "cpu" else {"device": self.kind}

    @property
    def at_once(self) -> int:
        """Tasks that a worker is given together."""
        return AT_ONCE[self.kind]

    def workers(self, asked: int | None, cores: int) -> int:
        """Workers on each device: as many as asked for, or as the cores can keep busy."""
        if asked is not None:
            return asked
        if self.kind == "cpu":
            return cores
        return max(1, min(WORKERS_OF_A_GPU, cores // len(self.names)))


CPU = Devices("cpu", ("cpu",))


def find_devices(text: str) -> Devices:
    """Reads `cpu`, `cuda` (every GPU of the machine) or `cuda:N`.

    Raises:
        ValueError: another text, or a device that is not there.
    """
    if kind_of_device(text) == CPU:
        return CPU
    _, colon, number = text.partition(":")
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        raise ValueError(f"{text}: torch {torch.__version__} finds no CUDA device here")
    if colon and int(number) >= count:
        raise ValueError(f"{text}: this machine has {count} CUDA devices, from cuda:0 on")
    from vkdnw.ops import library

    try:
        library.require_cuda_kernels()
    except library.NativeLibraryError as error:
        raise ValueError(f"{text}: {error}") from error
    chosen = [int(number)] if colon else range(count)
    return Devices("cuda", tuple(f"cuda:{index}" for index in chosen))


def kind_of_device(text: str) -> Devices:
    """Reads the same text where other machines score, which have the devices.

    Raises ValueError for another text.
    """
    kind, colon, number = text.partition(":")
    if text != "cpu" and (kind != "cuda" or bool(colon) != number.isdecimal()):
        raise ValueError(f"a device is cpu, cuda or cuda:N, got {text!r}")
    return Devices(kind, (text,))


def spread(devices: Devices, workers: int) -> Sequence[str]:
    """The device of each worker, by torch's name: `workers` on every device, the devices in turn.

    Without workers there is one, for this process.
    """
    names = [name for _ in range(max(1, workers)) for name in devices.names]
    return names if workers else names[:1]
