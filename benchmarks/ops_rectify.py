"""vkdnw::rectify against torch.relu, which it equals but for the bit mask that it makes as well.

Nodes of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn. "copies"
is how many inputs the calls take in turn: with one, it stays in the cache, with 64 it comes from
memory. "composed" is the ReLU and a comparison with zero, which makes a mask of one byte a number.

    python benchmarks/ops_rectify.py
"""

from __future__ import annotations

import itertools

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.relu import rectify

NODES = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCHES = ((8, 1), (16, 1), (64, 1), (16, 64))  # samples, copies of the data
REPEATS = 40


def composed(x: Tensor) -> tuple[Tensor, Tensor]:
    relu = torch.relu(x)
    return relu, relu > 0


def compare(channels: int, size: int, batch: int, copies: int) -> None:
    x = normal_images(batch, channels, size, size)
    data = itertools.cycle([x.clone() for _ in range(copies)])
    relu_time, composed_time, our_time = best_times(
        [
            lambda: torch.relu(next(data)),
            lambda: composed(next(data)),
            lambda: rectify(next(data)),
        ],
        REPEATS,
    )
    print(
        f"{channels:8} {size:4} {batch:5} {copies:6} {relu_time * 1e6:8.0f}"
        f" {composed_time * 1e6:11.0f} {our_time * 1e6:9.0f} {relu_time / our_time:6.2f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("ratio: relu / vkdnw")
    print("channels size batch copies  relu us composed us  vkdnw us  ratio")
    with torch.inference_mode():
        for channels, size in NODES:
            for batch, copies in BATCHES:
                compare(channels, size, batch, copies)


if __name__ == "__main__":
    main()
