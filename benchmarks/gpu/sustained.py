"""Milliseconds a network, sustained over a random sample of NAS-Bench-201's live networks.

Worker processes share the device as those of `vkdnw search nb201 --device cuda --workers W` do, and
compute the same: building, drawing the weights and moving them count. Every worker scores two
networks, then all wait at a barrier; the clock runs from there until the last network is done.

    python benchmarks/gpu/sustained.py [--device cpu] [--small] [--repeats NETWORKS]
"""

from __future__ import annotations

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

WORKERS = (16, 8, 4, 12)  # the most promising first, for the time may run out
NETWORKS = 3000


def work(
    o: Options, chosen: list[str], turn: Synchronized[int], barrier: Barrier, values: Any
) -> None:
    """One worker: takes the next network until there is none."""
    from vkdnw.search.scoring import Scorer

    space = NB201(cells=1, resolution=8) if o.small else NB201()
    configuration = Configuration(batch_size=4 if o.small else 64, max_memory=MEMORY[o.device.type])
    scorer = Scorer(space, configuration, str(o.device))
    try:
        for network in chosen[:2]:
            scorer(Task(network, 0, ("vkdnw",)))
    except BaseException:
        barrier.abort()  # nobody else would come through
        raise
    barrier.wait()
    while True:
        with turn.get_lock():
            number = turn.value
            turn.value += 1
        if number >= len(chosen):
            return
        values[number] = scorer(Task(chosen[number], 0, ("vkdnw",))).values["vkdnw"]


def measure(o: Options, workers: int, chosen: list[str]) -> tuple[float, int]:
    """Seconds from the barrier to the last result, and the number of distinct scores."""
    spawn = multiprocessing.get_context("spawn")
    turn, barrier = spawn.Value("q", 0), spawn.Barrier(workers + 1)
    values = spawn.Array("d", len(chosen), lock=False)
    processes = [
        spawn.Process(target=work, args=(o, chosen, turn, barrier, values)) for _ in range(workers)
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
    return seconds, len(set(values))


def main() -> None:
    o = options(__doc__ or "")
    live = nb201.live()
    count = 8 if o.small else max(o.repeats, NETWORKS)
    chosen = random.Random(0).sample(live, count)
    for workers in (1, 2) if o.small else WORKERS:
        seconds, distinct = measure(o, workers, chosen)
        tell(
            f"{workers} workers, {count} live networks", 1e3 * seconds / count, "ms a network",
            seconds_for_all_live=seconds / count * len(live), distinct_scores=distinct,
        )  # fmt: skip


if __name__ == "__main__":
    main()
