"""Peak resident memory of scoring a structure of 450M multiply-adds at 224 pixels, batch 64.

Each number is that of a process of its own, less its memory before: the network, the images, and
the libraries that the first score of a small batch loads.

    python benchmarks/mobilenetv2/peak_memory.py
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import torch

import vkdnw
from vkdnw.search.spaces import mobilenetv2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure.in_turn import resident

MEBIBYTE = 2**20
RUNS = [  # classes, images, threads, MiB
    (10, 64, 1, 256),
    (10, 64, 1, 1024),
    (10, 64, 2, 1024),
    (1000, 4, 1, 256),
    (1000, 4, 1, 1024),
]


def structure(flops: float = 450e6) -> str:
    """Of the samples of one seed the nearest in cost."""
    generator = random.Random(0)
    samples = [mobilenetv2.sample(generator) for _ in range(400)]
    return min(samples, key=lambda sample: abs(mobilenetv2.cost(sample).flops - flops))


def print_peak(classes: int, samples: int, threads: int, budget: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = mobilenetv2.build(structure(), classes=classes).eval()
    images = torch.randn(samples, 3, 224, 224)
    weights = vkdnw.weights.sampled()
    vkdnw.score(model, images[:2, :, :64, :64], weights=weights)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = resident("VmRSS")
    score = vkdnw.score(model, images, weights=weights, max_memory=budget * MEBIBYTE)
    print(f"{score.mode} {(resident('VmHWM') - before) / MEBIBYTE:.0f}")


def main() -> None:
    print("classes images threads  MiB given  mode      MiB taken")
    for run in RUNS:
        command = [sys.executable, __file__, "--child", *map(str, run)]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        mode, taken = finished.stdout.split()
        classes, samples, threads, budget = run
        print(f"{classes:7} {samples:6} {threads:7} {budget:10}  {mode:8} {taken:>10}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print_peak(*map(int, sys.argv[2:]))
    else:
        main()
