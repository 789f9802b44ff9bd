"""Bounds on the cost of the networks of a search."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from vkdnw.search.configuration import Json
from vkdnw.search.spaces.search_space import Cost


@dataclass(frozen=True)
class Budget:
    """Upper bounds; equality is within them, None bounds nothing.

    Raises ValueError for a bound that nothing can meet.
    """

    flops: int | None = None
    parameters: int | None = None
    layers: int | None = None
    """Parameter tensors."""
    depth: int | None = None
    """The depth as the space defines it, where its cost has one (MobileNetV2: sub-layers)."""
    latency: float | None = None
    """Seconds for one image: told with the cost where it comes from a table; else measured, and so
    known after a network is built, not before."""

    def __post_init__(self) -> None:
        for field in fields(self):
            bound = getattr(self, field.name)
            if bound is not None and not bound > 0:
                raise ValueError(f"a budget of {field.name} must be positive, got {bound}")

    def check(self, cost: Cost) -> None:
        """Raise ValueError for a bound on something that a space's costs do not tell."""
        for name, _ in self._told(cost):
            if not hasattr(cost, name):
                raise ValueError(f"this space does not tell the {name} of a network")

    def admits(self, cost: Cost) -> bool:
        """Whether a cost is within every bound that can be told from an architecture's string."""
        if not math.isfinite(getattr(cost, "latency", 0.0)):
            return False  # the table of latencies does not have it
        return all(getattr(cost, name) <= bound for name, bound in self._told(cost))

    def admits_measured(self, values: Mapping[str, float]) -> bool:
        """Whether measured values are within the bounds."""
        return self.latency is None or values.get("latency", -math.inf) <= self.latency

    def settings(self) -> dict[str, Json]:
        return {f"budget_{name}": bound for name, bound in vars(self).items()}

    def _told(self, cost: Cost) -> list[tuple[str, float]]:
        """The bounds on what a string tells."""
        return [
            (name, bound)
            for name, bound in vars(self).items()
            if bound is not None and (name != "latency" or hasattr(cost, "latency"))
        ]


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_count(text: str) -> int:
    """Read a number such as `450M` or `1.2G`; K, M and G are powers of 1000. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"a count is a number and K, M or G (powers of 1000), got {text!r}")
    return round(float(match[1]) * _UNITS[match[2].upper()])
