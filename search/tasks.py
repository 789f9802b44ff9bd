"""Tasks of a scorer, their results, and the values that a run has of an architecture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Task:
    """One scoring: some values of a network under a seed.

    Equal tasks have equal results, to the last bit.
    """

    network: str
    """The architecture string to build, canonical where equal networks are scored once."""
    seed: int
    names: tuple[str, ...] = ("vkdnw",)
    """The values to compute. None depends on which others are computed with it."""


@dataclass(frozen=True)
class Scored:
    """The result of a task."""

    values: Mapping[str, float]
    """Each proxy's value by name. A NaN is an undefined value and has a reason."""
    started_at: str
    """UTC, ISO 8601."""
    seconds: float
    """Wall time of the task: building, initialising and scoring the network."""
    arrays: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Named vectors, kept as float64: `deciles`, and others that a proxy chooses to keep."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a value is NaN, by the value's name."""
    fallback: tuple[str, ...] = ()
    """Parameters differentiated automatically because no rule covers them."""

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if math.isnan(value) and not self.reasons.get(name):
                raise ValueError(f"the value {name!r} is NaN and no reason is given")


@dataclass(frozen=True)
class Failure:
    """A task that was tried in vain: it raised, or its worker was lost time and again."""

    reason: str
    """One line."""
    details: str = ""
    """The traceback, where there is one."""
    blame: Literal["network", "machine"] = "network"
    """Whether trying again on a machine with more memory, say, could end otherwise."""


@dataclass(frozen=True)
class Asked:
    """An architecture that a run is asked to score."""

    architecture: str
    network: str
    """The network scored for it."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Counts from its string alone: layers, FLOPs, parameters."""


@dataclass(frozen=True)
class Evaluation:
    """The values that a run has of one architecture under one seed."""

    architecture: str
    network: str
    seed: int
    values: Mapping[str, float]
    """Proxies, counts, and `single` = layers + vkdnw where both are known."""
    deciles: tuple[float, ...]
    """The spectrum's quantiles at 0.1, 0.2, ... 0.9; empty where none were kept."""
    seconds: float
    """Wall time of scoring its network, once for all architectures that share it."""
    fallback: tuple[str, ...] = ()
