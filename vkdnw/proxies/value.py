"""The value of a proxy: a number, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import total_ordering


@total_ordering
@dataclass(frozen=True, eq=False)
class Value:
    """A proxy's value. Higher ranks better: values are ordered by it, NaN below all others.

    A value equals another one of the same number and reason, and a number that is the same.
    """

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

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Value):
            return _rank(self.value) == _rank(other.value) and self.reason == other.reason
        return self.value == other

    def __lt__(self, other: Value | float) -> bool:
        if not isinstance(other, Value | float | int):
            return NotImplemented
        return _rank(self.value) < _rank(float(other))

    def __hash__(self) -> int:
        return hash(self.value) if self.reason is None else hash(self.reason)


def _rank(value: float) -> tuple[bool, float]:
    """The sort key of values: NaN is below minus infinity."""
    return (False, 0.0) if math.isnan(value) else (True, value)


def undefined(reason: str, value: float = math.nan) -> Value:
    """A value that the definition does not give, and why."""
    return Value(value, reason)


def checked(value: float, otherwise: str = "the network's numbers overflow") -> Value:
    """The value of a sum or norm; where it is not finite, that is for the reason given."""
    return Value(value + 0.0) if math.isfinite(value) else Value(value, otherwise)  # no -0.0
