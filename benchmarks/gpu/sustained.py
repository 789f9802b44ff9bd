"""Milliseconds a network, sustained over a random sample of NAS-Bench-201's live networks.

Worker processes share the device as those of `vkdnw search nb201 --device cuda --workers W` do, and
compute the same: building, drawing the weights and moving them count. Every worker scores two
networks, then all wait at a barrier; the clock runs from there until the last network is done.
Workers take up to 32 networks together, as a search's do, and once one at a time: to the same bits.

    python benchmarks/gpu/sustained.py [--device cpu] [--small] [--repeats NETWORKS]
"""

from __future__ import annotations

import math
import multiprocessing
import random
import time
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from typing import Any

from clock import Options, options, tell

from vkdnw.search.configuration import Configuration
from vkdnw.search.devices import MEMORY
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.tasks import Task

AT_ONCE = 32
RUNS = ((16, AT_ONCE), (8, AT_ONCE), (16, 1), (4, AT_ONCE))
"""Workers, and networks that each takes together; the most promising first, for the time may run
out."""
NETWORKS = 3000


def work(
    o: Options,
    workers: int,
    at_once: int,
    chosen: list[str],
    turn: Synchronized[int],
    barrier: Barrier,
    values: Any,
) -> None:
    """One worker: takes the next networks, or its share of those that are left, until there is
    none."""
    from vkdnw.search.scoring import Scorer

    space = NB201(cells=1, resolution=8) if o.small else NB201()
    configuration = Configuration(batch_size=4 if o.small else 64, max_memory=MEMORY[o.device.type])
    scorer = Scorer(space, configuration, str(o.device), at_once)
    try:
        scorer.together([Task(network, 0, ("vkdnw",)) for network in chosen[:2]])
    except BaseException:
        barrier.abort()  # nobody else would come through
        raise
    barrier.wait()
    while True:
        with turn.get_lock():
            first = turn.value
            share = -(-(len(chosen) - first) // workers)
            turn.value += min(at_once, max(1, share))
            last = turn.value
        tasks = [Task(network, 0, ("vkdnw",)) for network in chosen[first:last]]
        if not tasks:
            return
        found = scorer.together(tasks) if at_once > 1 else [scorer(tasks[0])]
        for number, scored in enumerate(found, first):
            values[number] = math.nan if scored is None else scored.values["vkdnw"]


def measure(o: Options, workers: int, at_once: int, chosen: list[str]) -> tuple[float, list[float]]:
    """Seconds from the barrier to the last result, and the scores."""
    spawn = multiprocessing.get_context("spawn")
    turn, barrier = spawn.Value("q", 0), spawn.Barrier(workers + 1)
    values = spawn.Array("d", len(chosen), lock=False)
    processes = [
        spawn.Process(target=work, args=(o, workers, at_once, chosen, turn, barrier, values))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    begun = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - begun
    if any(process.exitcode for process in processes):
        raise RuntimeError("a worker failed; its message is above")
    return seconds, list(values)


def main() -> None:
    o = options(__doc__ or "")
    live = nb201.live()
    count = 8 if o.small else max(o.repeats, NETWORKS)
    chosen = random.Random(0).sample(live, count)
    scores: list[float] = []
    for workers, at_once in ((2, AT_ONCE), (1, 1)) if o.small else RUNS:
        seconds, found = measure(o, workers, at_once, chosen)
        scores = scores or found
        how = "" if at_once > 1 else " one at a time"
        tell(
            f"{workers} workers{how}, {count} live networks", 1e3 * seconds / count, "ms a network",
            seconds_for_all_live=seconds / count * len(live), distinct_scores=len(set(found)),
            other_than_first=sum(a != b for a, b in zip(found, scores, strict=True)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
