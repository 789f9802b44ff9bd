"""Every proxy on networks of NAS-Bench-201: milliseconds and peak memory, relative to VKDNW.

Live networks at random, the paper's size, batch 64, one thread, process CPU time. All versions take
turns on a network; a figure is the mean over networks of the fastest of the rounds. Peak memory is
that of a process of its own, less its memory before, on the widest network. An
aggregate's name stands for its parts in one call: those of vkdnw_agg should cost at most 1.4 times
VKDNW. Memory is allocated as the workers of a search have it, or with --plain as any process does.
`vkdnw plot --costs` takes the JSON file.

    python benchmarks/proxies.py [--networks 6] [--rounds 2] [--only vkdnw,naswot] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

import torch
from measure.in_turn import peak_memory, print_added_peak
from torch import nn

import vkdnw
from vkdnw import proxies
from vkdnw.proxies import Inputs
from vkdnw.search.executors.child import MALLOC
from vkdnw.search.rankings.aggregation import NAMED
from vkdnw.search.spaces import nb201

BATCH, RESOLUTION, CLASSES = 64, 32, 10
AGGREGATES = {
    name: NAMED[name].parts for name in ("vkdnw_agg", "flow_agg", "residual_agg", "az_nas")
}
TOGETHER = AGGREGATES | {
    "all on noise": tuple(
        name
        for name, proxy in proxies.PROXIES.items()
        if proxy.labels != "real" and name not in ("ntk", "vkdnw_single")
    ),
}
SETS = {name: (name,) for name in proxies.names()} | TOGETHER
WIDEST = nb201.format(["nor_conv_3x3"] * 6)


def live_networks(count: int) -> list[str]:
    return random.Random(0).sample(list(nb201.live()), count)


def network(architecture: str) -> nn.Module:
    return vkdnw.initialise(nb201.build(architecture, classes=CLASSES), seed=0)


def inputs() -> Inputs:
    source = torch.Generator().manual_seed(0)
    draws = [torch.randn(BATCH, 3, RESOLUTION, RESOLUTION, generator=source) for _ in range(3)]
    labels = torch.randint(CLASSES, (2, BATCH), generator=source)
    return Inputs(
        noise=draws[0],
        images=draws[1],
        labels=labels[0],
        second_images=draws[2],
        second_labels=labels[1],
    )


def read_by(name: str) -> Inputs:
    """Without images where noise will do, so that Jacov shares the pass over noise."""
    read = inputs()
    needs_images = any(proxies.proxy(each).labels == "real" for each in SETS[name])
    return read if needs_images else Inputs(noise=read.noise)


def cpu_seconds(name: str, model: nn.Module, read: Inputs) -> float:
    begun = time.process_time()
    proxies.compute(SETS[name], model, read, seed=0)
    return time.process_time() - begun


def fastest(names: list[str], architecture: str, rounds: int) -> dict[str, float]:
    """CPU seconds of each set of proxies on a network, the least of several turns."""
    model = network(architecture)
    read = {name: read_by(name) for name in names}
    turns = [{name: cpu_seconds(name, model, read[name]) for name in names} for _ in range(rounds)]
    return {name: min(turn[name] for turn in turns) for name in names}


def print_peak(name: str) -> None:
    """Less the memory once the libraries are loaded: a small network has been scored before."""
    small = vkdnw.initialise(nb201.build(WIDEST, channels=16, cells=1, classes=CLASSES), seed=0)
    read = read_by(name)
    few = {
        key: value[:4] if isinstance(value, torch.Tensor) else value
        for key, value in vars(read).items()
    }
    proxies.compute(SETS[name], small, Inputs(**few), seed=0)
    model = network(WIDEST)
    print_added_peak(lambda: None, lambda: proxies.compute(SETS[name], model, read, seed=0))


def measure(names: list[str], networks: int, rounds: int) -> list[dict[str, object]]:
    if "vkdnw" not in names:
        names = ["vkdnw", *names]
    proxies.compute(["vkdnw", "jacov", "flops"], network(WIDEST), read_by("vkdnw"), seed=0)
    times = [fastest(names, each, rounds) for each in live_networks(networks)]
    seconds = {name: statistics.mean(row[name] for row in times) for name in names}
    return [
        {
            "proxy": name,
            "milliseconds": 1e3 * seconds[name],
            "times vkdnw": seconds[name] / seconds["vkdnw"],
            "peak MiB": peak_memory(__file__, name) / 2**20,
        }
        for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(SETS), help="proxies or sets, by name")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain", action="store_true", help="malloc as it is")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.plain and "GLIBC_TUNABLES" not in os.environ:  # read when a process starts
        environment = {**os.environ, "GLIBC_TUNABLES": MALLOC}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    torch.set_num_threads(1)
    if options.child:
        print_peak(options.child)
        return
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, one thread, batch {BATCH}, load {load:.1f} at the start")
    rows = measure(options.only.split(","), options.networks, options.rounds)
    print(f"{'proxy':20} {'ms':>9} {'x vkdnw':>8} {'MiB':>7}")
    for row in rows:
        print(
            f"{row['proxy']:20} {row['milliseconds']:9.1f} {row['times vkdnw']:8.3f} "
            f"{row['peak MiB']:7.0f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
