"""Milliseconds a network, sustained over a random sample of NAS-Bench-201's live networks.

Worker processes share the device, each with its own stream, as `vkdnw search nb201 --device cuda
--workers W` has them: building, drawing the weights and moving them count. Each worker has scored
two networks before the clock starts.

    python benchmarks/gpu/sustained.py [--device cpu] [--small] [--repeats NETWORKS]
"""

from __future__ import annotations

import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor

import torch
from clock import options, tell

WORKERS = (1, 4, 8, 12)


def score(task: tuple[str, str, bool]) -> float:
    """Scores one network; called in a worker."""
    import vkdnw
    from vkdnw.search.spaces import nb201

    architecture, device, small = task
    torch.set_num_threads(1)
    model = nb201.build(architecture, channels=16, cells=1 if small else 5, classes=10)
    vkdnw.initialise(model, "kaiming_normal", seed=0)
    generator = torch.Generator().manual_seed(0)
    side = 8 if small else 32
    x = torch.randn(4 if small else 64, 3, side, side, generator=generator)
    model = model.to(device).eval()
    return vkdnw.score(model, x.to(device), max_memory=2**34).vkdnw


def main() -> None:
    from vkdnw.search.spaces import nb201

    o = options(__doc__ or "")
    count = 8 if o.small else max(o.repeats, 500)
    live = nb201.live()
    chosen = random.Random(0).sample(live, count)
    spawn = multiprocessing.get_context("spawn")
    for workers in (1, 2) if o.small else WORKERS:
        part = chosen if workers > 1 or o.small else chosen[: count // 5]
        tasks = [(architecture, str(o.device), o.small) for architecture in part]
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            list(pool.map(score, tasks[:2] * workers))
            begun = time.perf_counter()
            values = list(pool.map(score, tasks))
            seconds = time.perf_counter() - begun
        tell(
            f"{workers} workers, {len(part)} live networks", 1e3 * seconds / len(part),
            "ms a network", seconds_for_all_live=seconds / len(part) * len(live),
            distinct_scores=len(set(values)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
