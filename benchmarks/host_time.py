"""The host's time for a network besides arithmetic: NAS-Bench-201 on two small images.

Networks have their full depth and width, so that Python and torch do as much around the kernels as
for images of 32 x 32 pixels. Times are those of one core (process time), so that other programs on
the machine matter little. Scores are those of a search: building, drawing weights, scoring.

    python benchmarks/host_time.py [--networks N] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import statistics
import time

import torch

from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.tasks import Task

IMAGES = 2
PIXELS = 8
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="print the slowest functions")
    given = parser.parse_args()
    torch.set_num_threads(1)
    scorer = Scorer(NB201(resolution=PIXELS), Configuration(batch_size=IMAGES))
    chosen = random.Random(0).sample(nb201.live(), WARM_UP + given.networks)
    for network in chosen[:WARM_UP]:
        scorer(Task(network, 0, ("vkdnw",)))
    profiler = cProfile.Profile()
    spent = []
    for network in chosen[WARM_UP:]:
        begun = time.process_time()
        if given.profile:
            profiler.runcall(scorer, Task(network, 0, ("vkdnw",)))
        else:
            scorer(Task(network, 0, ("vkdnw",)))
        spent.append(1e3 * (time.process_time() - begun))
    print(f"{given.networks} networks: median {statistics.median(spent):.1f} ms, ", end="")
    print(f"{min(spent):.1f} to {max(spent):.1f} ms a network")
    if given.profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats("vkdnw|search", 70)


if __name__ == "__main__":
    main()
