"""A search space of one's own, in one file: stairs of convolutions.

An architecture is a string such as ``16x3-24x5-24x3``: one convolution after another, each with so
many channels and a kernel of that side, every second one halving the image. With the methods below
it has everything that NAS-Bench-201 has: scores, a store, workers, evolution, resumption.

Search it (a minute on a laptop; give the command again to go on), from Python or by its place:

    python examples/staircase_space.py RUN
    cd examples && vkdnw search custom --space staircase_space:Staircase --flops 300K --out RUN
"""

import re
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from torch import nn

from vkdnw import search
from vkdnw.search.spaces.search_space import ArchitectureError, Cost

WIDTHS = (8, 12, 16, 24, 32)
KERNELS = (1, 3, 5)
STEPS = (2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Staircase:
    """The space at given sizes."""

    name: ClassVar[str] = "staircase"

    classes: int = 10
    resolution: int = 16

    def validate(self, architecture: str) -> None:
        _parse(architecture)

    def sample(self, random: Random) -> str:
        return _format([_step(random) for _ in range(random.choice(STEPS))])

    def mutate(self, architecture: str, random: Random) -> str:
        """Another step in one place, or a step more, or a step less."""
        steps = _parse(architecture)
        place = random.randrange(len(steps))
        change = random.choice(("replace", "insert", "remove"))
        if change == "insert" and len(steps) < max(STEPS):
            steps.insert(place, _step(random))
        elif change == "remove" and len(steps) > min(STEPS):
            del steps[place]
        else:
            steps[place] = _step(random)
        return _format(steps)

    def canonical(self, architecture: str) -> str:
        """Every string is a network of its own."""
        self.validate(architecture)
        return architecture

    def cost(self, architecture: str) -> Cost:
        flops = parameters = 0
        inputs, side = 3, self.resolution
        steps = _parse(architecture)
        for place, (width, kernel) in enumerate(steps):
            side = -(-side // _stride(place))
            weights = inputs * width * kernel**2
            flops += weights * side**2
            parameters += weights + 2 * width
            inputs = width
        head = inputs * self.classes
        return Cost(3 * len(steps) + 2, flops + head, parameters + head + self.classes)

    def build(self, architecture: str) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = 3
        for place, (width, kernel) in enumerate(_parse(architecture)):
            layers[f"step{place}"] = nn.Sequential(
                nn.Conv2d(inputs, width, kernel, _stride(place), padding=kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            inputs = width
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["classifier"] = nn.Linear(inputs, self.classes)
        return nn.Sequential(layers)

    def features(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, _ in model.named_children() if name.startswith("step"))

    def describe(self, architecture: str) -> str:
        return "\n".join(f"{k}x{k} convolution to {w} channels" for w, k in _parse(architecture))


def _step(random: Random) -> tuple[int, int]:
    return random.choice(WIDTHS), random.choice(KERNELS)


def _stride(place: int) -> int:
    return 1 + place % 2


def _format(steps: list[tuple[int, int]]) -> str:
    return "-".join(f"{width}x{kernel}" for width, kernel in steps)


def _parse(architecture: str) -> list[tuple[int, int]]:
    steps = []
    for place, text in enumerate(str(architecture).split("-")):
        match = re.fullmatch(r"(\d+)x(\d+)", text)
        if match is None or int(match[1]) not in WIDTHS or int(match[2]) not in KERNELS:
            raise ArchitectureError(
                f"step {place} of {architecture!r}: {text!r} is no WIDTHxKERNEL with a width of "
                f"{WIDTHS} and a kernel of {KERNELS}"
            )
        steps.append((int(match[1]), int(match[2])))
    if len(steps) not in STEPS:
        raise ArchitectureError(f"{architecture!r} has {len(steps)} step(s), not one of {STEPS}")
    return steps


def main(folder: Path, evaluations: int = 60, workers: int = 2) -> None:
    """Search the space for a network of at most 300,000 multiply-adds."""
    run = search.evolve(
        Staircase,
        folder,
        evaluations=evaluations,
        population=16,
        flops=300_000,
        rank_by="expressivity,trainability,vkdnw,flops",
        batch_size=16,
        workers=workers,
    )
    print(run)
    print(run.top(3).to_string())
    print(run.best().describe())


if __name__ == "__main__":
    # A worker imports the space by the name of its module, which is not __main__ there.
    from staircase_space import main as imported_main

    imported_main(Path(sys.argv[1]))
