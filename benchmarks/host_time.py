"""The host's time for a network besides arithmetic: NAS-Bench-201 on two small images.

Networks have their full depth and width, so that Python and torch do as much around the kernels as
for images of 32 x 32 pixels. Times are those of one core (process time), so that other programs on
the machine matter little. Scores are those of a search: building, drawing weights, scoring.

    python benchmarks/host_time.py [--networks N] [--profile]
    python benchmarks/host_time.py --without

The second form scores each network in turn as it is and without one of what saves time, and prints
the median of each and of its ratio to the first.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from vkdnw.runtime.members import Unwritten
from vkdnw.runtime.model_state import State, preserved
from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.tasks import Task

IMAGES = 2
PIXELS = 8
WARM_UP = 3


@contextmanager
def numbers_copied(model: nn.Module, room: int, unwritten: Unwritten | None) -> Iterator[State]:
    """The state of a model of known layers as that of any other: a copy of all numbers."""
    with preserved(model, room) as state:
        state.unwritten = unwritten
        yield state


WITHOUT: dict[str, dict[str, Any]] = {
    "as it is": {},
    "built anew": {"vkdnw.search.spaces.nb201.space.NB201.rebuild": None},
    "weights copied": {"vkdnw.per_sample.problem.preserved": numbers_copied},
    "recorded by autograd": {
        "vkdnw.per_sample.reverse_mode.chunking.static_pass": lambda *_: None,
    },
    "probed, and recorded": {
        "vkdnw.per_sample.probing.trace.symbolic_graph": lambda *_: None,
    },
    "all four": {
        "vkdnw.per_sample.problem.preserved": numbers_copied,
        "vkdnw.search.spaces.nb201.space.NB201.rebuild": None,
        "vkdnw.per_sample.probing.trace.symbolic_graph": lambda *_: None,
    },
}
"""What is put in the place of what saves time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="print the slowest functions")
    parser.add_argument("--without", action="store_true", help="leave out one saving at a time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(NB201(resolution=PIXELS), Configuration(batch_size=IMAGES))
    chosen = random.Random(0).sample(nb201.live(), WARM_UP + given.networks)
    for network in chosen[:WARM_UP]:
        scorer(Task(network, 0, ("vkdnw",)))
    if given.without:
        compare(scorer, chosen[WARM_UP:])
        return
    profiler = cProfile.Profile()
    run: Callable[..., Any] = profiler.runcall if given.profile else _called
    spent = [timed(scorer, network, run) for network in chosen[WARM_UP:]]
    print(f"{given.networks} networks: median {statistics.median(spent):.1f} ms, ", end="")
    print(f"{min(spent):.1f} to {max(spent):.1f} ms a network")
    if given.profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats("vkdnw|search", 70)


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def timed(scorer: Scorer, network: str, run: Callable[..., Any] = _called) -> float:
    """Milliseconds of one core."""
    begun = time.process_time()
    run(scorer, Task(network, 0, ("vkdnw",)))
    return 1e3 * (time.process_time() - begun)


def compare(scorer: Scorer, networks: list[str]) -> None:
    """All networks in every way, in turn."""
    spent: dict[str, list[float]] = {name: [] for name in WITHOUT}
    for network in networks:
        for name, times in spent.items():
            with replaced(WITHOUT[name]):
                times.append(timed(scorer, network))
    fastest = spent["as it is"]
    for name, times in spent.items():
        ratios = [a / b for a, b in zip(times, fastest, strict=True)]
        print(f"{name:22} {statistics.median(times):6.1f} ms, {statistics.median(ratios):.2f}")


@contextmanager
def replaced(by: dict[str, Any]) -> Iterator[None]:
    """Inside the block, other values stand at some places."""
    with ExitStack() as stack:
        for place, value in by.items():
            stack.enter_context(patch(place, value))
        yield


if __name__ == "__main__":
    main()
