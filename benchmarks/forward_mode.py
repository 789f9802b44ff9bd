"""Reverse against forward mode for 10, 100 and 1,000 classes: CPU seconds of a score.

A NAS-Bench-201 network (five cells a stage) and a sampled MobileNetV2 structure, 8 images, float32,
128 scalars, one thread, process CPU time, the modes taken in turn.

    python benchmarks/forward_mode.py
"""

from __future__ import annotations

import random
import time

import torch
from torch import nn

import vkdnw
from vkdnw.search.spaces import mobilenetv2, nb201

CELL = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+"
    "|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|"
)
SAMPLES = 8
ROUNDS = 2


def networks(classes: int) -> dict[str, tuple[nn.Module, torch.Tensor, vkdnw.weights.WeightChoice]]:
    structure = mobilenetv2.sample(random.Random(0))
    return {
        "nb201": (
            nb201.build(CELL, 16, 5, classes),
            torch.randn(SAMPLES, 3, 32, 32),
            vkdnw.weights.first(),
        ),
        "mobilenetv2": (
            mobilenetv2.build(structure, classes=classes),
            torch.randn(SAMPLES, 3, 64, 64),
            vkdnw.weights.sampled(),
        ),
    }


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("network      classes  reverse s  forward s  auto")
    for classes in (10, 100, 1000):
        for name, (model, images, weights) in networks(classes).items():
            vkdnw.initialise(model.eval(), seed=0)
            best = {"reverse": float("inf"), "forward": float("inf")}
            for _ in range(ROUNDS):
                for mode in best:
                    start = time.process_time()
                    vkdnw.score(model, images, weights=weights, mode=mode, max_memory=2**30)
                    best[mode] = min(best[mode], time.process_time() - start)
            chosen = vkdnw.score(model, images, weights=weights, max_memory=2**30).mode
            print(
                f"{name:12} {classes:7} {best['reverse']:10.2f} {best['forward']:10.2f}  {chosen}",
                flush=True,
            )


if __name__ == "__main__":
    main()
