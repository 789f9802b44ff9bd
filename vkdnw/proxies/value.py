"""What a proxy returns: a number, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """A proxy's value. Higher ranks better."""

    value: float
    """The number: minus infinity where the definition tends there, NaN where it has no limit."""

    reason: str | None = None
    """Why the value is not finite; None where it is."""

    def __post_init__(self) -> None:
        if math.isfinite(self.value) != (self.reason is None):
            raise ValueError(
                f"a value is finite or has a reason not to be, got {self.value} and {self.reason!r}"
            )

    def __float__(self) -> float:
        return self.value


def undefined(reason: str, value: float = math.nan) -> Value:
    """A value that the definition does not give, and why."""
    return Value(value, reason)


def checked(value: float, otherwise: str = "the network's numbers overflow") -> Value:
    """The value of a sum or norm; where it is not finite, that is for the reason given."""
    return Value(value + 0.0) if math.isfinite(value) else Value(value, otherwise)  # no -0.0
