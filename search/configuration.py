"""The settings of a score besides the architecture and the seed, and how two of them compare."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from vkdnw.ops import library

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Settings = Mapping[str, Json]

Convention = Literal["fisher", "released"]
Dtype = Literal["float32", "float64", "bfloat16"]
Init = Literal["kaiming_normal"]
Mode = Literal["auto", "reverse", "forward"]

FREE_SETTINGS: Mapping[str, str] = {
    "architectures": "a run may be given more of them at any time",
    "seeds": "a run may be given more of them at any time",
    "workers": "a score does not depend on who computes it",
    "data": "the inputs are compared by content, so a file may move",
    "images": "the inputs are compared by content, so a file may move",
    "proxies": "a run may be given more of them at any time",
    "evaluations": "a search may be made longer at any time",
    "latency_file": "a table of latencies is compared by content, so it may move",
    "space_from": "a space is compared by its name and sizes, so its module may move",
}
"""The settings that may differ between two commands on one run, and why they may."""

_SCALARS = {
    "first": re.compile(r"first(?::(?P<tensors>[1-9]\d*))?"),
    "spaced": re.compile(r"spaced:(?P<count>[1-9]\d*)(?::(?P<tensors>[1-9]\d*))?"),
    "sampled": re.compile(r"sampled(?::(?P<tensors>[1-9]\d*))?"),
    "random": re.compile(r"random:(?P<count>[1-9]\d*):(?P<seed>\d+)"),
    "every": re.compile(r"every"),
}
SCALARS_FORMS = (
    "first[:TENSORS], spaced:COUNT[:TENSORS], sampled[:TENSORS], random:COUNT:SEED or every"
)
TENSORS = 128
"""Parameter tensors that choices look at unless told otherwise (Section 4 of the paper)."""


@dataclass(frozen=True)
class Configuration:
    """How the networks of a space are scored.

    `max_memory` is fixed, not taken from the memory that happens to be free: it decides into which
    pieces a computation is cut, hence how its sums round, and a score must not depend on the
    machine's other programs.
    """

    batch_size: int = 64
    data: str | None = None
    """A file or folder of images; None for standard normal input."""
    images: str | None = None
    """Labelled images for the proxies that are defined on them; the others keep their input."""
    scalars: str = "first"
    """Over which scalars the Fisher matrix is taken."""
    convention: Convention = "fisher"
    """"fisher": every method by its definition; "released": as the authors' code computes it."""
    smoothing: float = 0.05
    dtype: Dtype = "float32"
    init: Init = "kaiming_normal"
    max_memory: int = 2**30
    """Bytes for a worker's intermediate results."""
    mode: Mode = "auto"
    """How derivatives are taken; "auto" decides for each network by counts, never by a clock."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scalars", normalise_scalars(self.scalars))
        for name in ("batch_size", "max_memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must lie in [0, 1), got {self.smoothing}")

    def settings(self) -> dict[str, Json]:
        """The settings that a run records; a run without a mode is one of "auto"."""
        named = asdict(self)
        return {name: named[name] for name in named if (name, named[name]) != ("mode", "auto")}


def normalise_scalars(text: str) -> str:
    """Write a choice of scalars in full: `first` is `first:128`. Raises ValueError."""
    kind, fields = parse_scalars(text)
    return ":".join([kind, *(str(value) for value in fields.values())])


def parse_scalars(text: str) -> tuple[str, dict[str, int]]:
    """Split a choice of scalars into its kind and its numbers. Raises ValueError."""
    for kind, form in _SCALARS.items():
        match = form.fullmatch(text)
        if match:
            numbers = match.groupdict(default=str(TENSORS))
            return kind, {name: int(number) for name, number in numbers.items()}
    raise ValueError(f"scalars must be {SCALARS_FORMS}, got {text!r}")


OWN_CODE = ("space ", "proxy ")
"""First words of the names of versions that tell the origin of a user's own code."""


def own_code(versions: Settings) -> dict[str, str]:
    """A user's own code among the versions that a run has on record: name -> where it is from,
    as `provenance` says it."""
    return {name: str(told) for name, told in versions.items() if name.startswith(OWN_CODE)}


@dataclass(frozen=True)
class Difference:
    """A setting for which two commands on one run disagree."""

    key: str
    stored: Json
    asked: Json

    def __str__(self) -> str:
        if self.key == "kernels":
            stored, asked = (side or "native" for side in (self.stored, self.asked))
            return f"the run's scores are of {stored} kernels, and {asked} ones are here{_TO_GO_ON}"
        if self.key == "strategy" and self.stored is None:
            return "a list of architectures is stored, an evolution asked for"
        if self.key == "strategy" and self.asked is None:
            return "an evolution is stored, a list of architectures asked for"
        if self.key.startswith(OWN_CODE):
            return f"{self.key} was {self.stored} and is {self.asked}"
        return f"{self.key}: stored {json.dumps(self.stored)}, asked {json.dumps(self.asked)}"


_TO_GO_ON = " (VKDNW_PLAIN=1 chooses plain ones; `vkdnw doctor` says why there are no native ones)"

RENAMED: Mapping[str, str] = {"weights": "scalars"}
"""Settings under another name in runs that were begun before: old name -> name."""


def binding(settings: Settings) -> dict[str, Json]:
    """The settings that every command on a run must share, under today's names."""
    return {
        RENAMED.get(key, key): value for key, value in settings.items() if key not in FREE_SETTINGS
    }


def differences(stored: Settings, asked: Settings) -> list[Difference]:
    """Every binding setting that differs; one that a side does not have counts as null."""
    stored, asked = binding(stored), binding(asked)
    keys = [*asked, *(key for key in stored if key not in asked)]
    found = (Difference(key, stored.get(key), asked.get(key)) for key in keys)
    return [difference for difference in found if difference.stored != difference.asked]


TOLD = 3
"""Differences that a refusal names."""


def refusal(found: Sequence[Difference]) -> str:
    """The differences in a sentence: those that explain the others first, and few of them.

    Two spaces differ in all their sizes, and a list of architectures and an evolution in every
    option of the evolution: options of one side alone say nothing more then.
    """
    keys = {difference.key for difference in found}
    if "space" in keys:
        found = [difference for difference in found if difference.key == "space"]
    elif "strategy" in keys:
        found = [
            difference
            for difference in found
            if difference.key == "strategy" or None not in (difference.stored, difference.asked)
        ]
    more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
    return "; ".join(map(str, found[:TOLD])) + more


def versions() -> dict[str, Json]:
    """The software and the CPU: recorded, because another torch or CPU may round differently."""
    return {
        "vkdnw": version("vkdnw"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "ops": _ops(),
    }


def _ops() -> str:
    """The kernels in use; of the two libraries of a wheel for others, which."""
    if not library.native():
        return "plain torch"
    file = library.fastest()
    return "native" if file == library.LIBRARY else f"native, {file.name}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
