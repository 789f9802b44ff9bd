"""The targets of the CUDA path on one H100 or H200, and whether a run's figures reach them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Target:
    text: str
    figures: tuple[str, ...]  # the best of them counts
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, figures: Figures) -> tuple[float | None, bool | None]:
        """The value that counts and whether it will do; None where nothing was measured."""
        values = [figures[name] for name in self.figures if figures.get(name) is not None]
        known = [value for value in values if value is not None]
        if not known:
            return None, None
        if self.at_least is not None:
            return max(known), max(known) >= self.at_least
        assert self.at_most is not None
        return min(known), min(known) <= self.at_most


def _beaten_by(versions: tuple[str, ...], figure: str) -> tuple[str, ...]:
    return tuple(f"all conv3x3: vmap(jacrev), {version}: {figure}" for version in versions)


TARGETS = (
    Target(
        "times faster a network than vmap(jacrev), 64 samples at a time",
        _beaten_by(("64 samples at a time",), "times slower"),
        at_least=40,
    ),
    Target(
        "times faster a network than vmap(jacrev), 8 samples at a time",
        _beaten_by(("8 samples at a time",), "times slower"),
        at_least=40,
    ),
    Target(
        "vmap(jacrev)'s memory in ours, 64 samples at a time",
        _beaten_by(("64 samples at a time",), "times the memory"),
        at_least=10,
    ),
    Target(
        "ms a network, sustained over 3,000 live ones (9,445 in 15 s)",
        tuple(f"{workers} workers, 3000 live networks" for workers in (4, 8, 16)),
        at_most=1.6,
    ),
    Target("ms of one vkdnw.score, all conv3x3", ("all conv3x3: vkdnw.score",), at_most=10),
    Target(
        "op (a), float32, channels-last: share of memory bandwidth",
        ("op (a), float32, channels-last: share of bandwidth",),
        at_least=0.7,
    ),
    Target(
        "op (c), 64 of 128x128, float32: times faster than eigvalsh",
        ("op (c), [64, 128, 128] float32: times faster than eigvalsh (default)",),
        at_least=5,
    ),
    Target(
        "op (c), 64 of 128x128, float32: times faster than cuSOLVER's batched solver",
        ("op (c), [64, 128, 128] float32: times faster than eigvalsh (cusolver)",),
        at_least=1,
    ),
)
