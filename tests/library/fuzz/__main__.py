"""Many models: ``python -m tests.library.fuzz --models 10000 --seed 0``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import torch

from tests.library.fuzz.check import checked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first model; others follow")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    end = None if chosen.minutes is None else time.monotonic() + 60 * chosen.minutes
    for seed in range(chosen.seed, chosen.seed + chosen.models):
        outcome = checked(seed, getattr(torch, chosen.dtype))
        if outcome.verdict == "failure":
            print(outcome, flush=True)
        refused = outcome.verdict == "refused"
        counts[f"refused: {outcome.reason}" if refused else outcome.verdict] += 1
        if end is not None and time.monotonic() > end:
            break
    kinds = ["right", *sorted(kind for kind in counts if ":" in kind), "failure"]
    print(f"| models | {' | '.join(kinds)} |")
    print(f"| {counts.total()} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    return int(counts["failure"] > 0)


if __name__ == "__main__":
    sys.exit(main())
