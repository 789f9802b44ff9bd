"""Networks a second of one worker, in both spaces of the paper, and the time of full runs at that
rate.

    python benchmarks/worker_rate.py [--networks 20]

A worker is one process with one thread, and scores as `vkdnw search` does: VKDNW at the defaults of
each space. The networks of MobileNetV2 are of a walk of mutations from the first structure, within
450M FLOPs and a depth of 14. The spaces take turns, so that other load on the machine falls on
both. CPU time moves less under other load than time on the clock; the second table is made of it.
"""

import argparse
import os
import time
from collections.abc import Iterator
from itertools import islice
from random import Random
from statistics import fmean

import torch
from rich.console import Console
from rich.table import Table

from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
from vkdnw.search.spaces.mobilenetv2.structure import INITIAL
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.tasks import Task

CORES = (2, 16, 64, 256)
FLOPS, DEPTH = 450_000_000, 14
EVALUATIONS = 100_000


def cells(space: NB201) -> list[str]:
    """Every different network of the live architectures, in random order."""
    live = space.subsets["live"]
    networks = dict.fromkeys(
        space.canonical(one) for one in space.architectures() if live.contains(one)
    )
    return Random(0).sample(list(networks), len(networks))


def walk(space: MobileNetV2) -> Iterator[str]:
    """Structures within the budget, each a mutation of the one before it."""
    random, at = Random(0), INITIAL
    while True:
        found = space.mutate(at, random)
        cost = space.cost(found)
        if cost.flops <= FLOPS and cost.depth <= DEPTH:
            at = found
            yield at


def scorer_of(space: SearchSpace) -> Scorer:
    defaults = getattr(space, "defaults", {})
    known = {key: value for key, value in defaults.items() if key in Configuration.__annotations__}
    return Scorer(space, Configuration(**known))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", type=int, default=20, help="of each space")
    count = parser.parse_args().networks
    torch.set_num_threads(1)
    nb201, mobilenetv2 = NB201(), MobileNetV2()
    every = cells(nb201)
    drawn = {"nb201": every[:count], "mobilenetv2": list(islice(walk(mobilenetv2), count))}
    scorers = {"nb201": scorer_of(nb201), "mobilenetv2": scorer_of(mobilenetv2)}
    for name, scorer in scorers.items():
        scorer(Task(drawn[name][0], 1))  # compiles and allocates
    cpu: dict[str, list[float]] = {name: [] for name in drawn}
    wall: dict[str, list[float]] = {name: [] for name in drawn}
    for number in range(count):
        for name, networks in drawn.items():
            begun, at = time.process_time(), time.monotonic()
            scorers[name](Task(networks[number], 0))
            cpu[name].append(time.process_time() - begun)
            wall[name].append(time.monotonic() - at)
    rates = Table("space", "networks", "CPU s a network", "s on the clock", "a core's networks/s")
    for name in drawn:
        mean = fmean(cpu[name])
        rates.add_row(
            name, str(count), f"{mean:.3f}", f"{fmean(wall[name]):.3f}", f"{1 / mean:.2f}"
        )
    total = Table("cores", f"nb201: {len(every):,} networks", f"mobilenetv2: {EVALUATIONS:,}")
    for cores in CORES:
        work = (len(every) * fmean(cpu["nb201"]), EVALUATIONS * fmean(cpu["mobilenetv2"]))
        total.add_row(str(cores), *(f"{seconds / cores / 60:,.1f} min" for seconds in work))
    console = Console(width=120)
    console.print(rates, total)
    capability = torch.backends.cpu.get_cpu_capability()
    console.print(f"load average {os.getloadavg()[0]:.1f}; torch computes with {capability}")


if __name__ == "__main__":
    main()
