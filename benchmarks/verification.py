"""The cost of verifying a score: with the comparison with plain autograd, and without.

Networks of NAS-Bench-201, of the MobileNetV2 space, and two transformers. Both versions run in
turn, in one process, and every ratio is taken within a round; the median is printed, of CPU seconds
on one thread.

    OMP_NUM_THREADS=1 python benchmarks/verification.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import warnings
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import scoring
import torch
from measure.in_turn import costs
from torch import Tensor, nn

import vkdnw
from vkdnw.per_sample.verification import Verification

mobilenetv2 = importlib.import_module("mobilenetv2.scoring")

WIDTH, LAYERS, HEADS = 96, 4, 3


class Images(nn.Module):
    """A vision transformer of torch's layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.body = encoder()
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.body(tokens).mean(1))
        return logits


class Words(nn.Module):
    """An encoder of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1000, WIDTH)
        self.body = encoder()
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.words(tokens)).mean(1))
        return logits


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)


def cases() -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    found: dict[str, Callable[[], object]] = {}
    for name in scoring.NETWORKS:
        found[f"NAS-Bench-201, {name}"] = partial(
            vkdnw.score, scoring.network(name), scoring.images()
        )
    for name in mobilenetv2.NETWORKS:
        found[f"MobileNetV2, {name}"] = partial(
            vkdnw.score,
            mobilenetv2.network(name),
            mobilenetv2.images(),
            weights=mobilenetv2.WEIGHTS,
        )
    found["transformer of images"] = partial(
        vkdnw.score, Images().eval(), torch.randn(32, 3, 32, 32)
    )
    found["transformer of words"] = partial(
        vkdnw.score, Words().eval(), torch.randint(1000, (32, 64))
    )
    return found


def without(call: Callable[[], object]) -> object:
    """The same score, compared with nothing."""
    with patch.object(Verification, "expected", lambda self, cotangents: []):
        return call()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    print(f"| {torch.get_num_threads()} threads | CPU seconds | the check's share |")
    print("|---|---|---|")
    for name, call in cases().items():
        measured = costs({"with": call, "without": partial(without, call)}, rounds)
        pairs = list(zip(measured["with"], measured["without"], strict=True))
        share = statistics.median(1 - b.cpu / a.cpu for a, b in pairs)
        seconds = statistics.median(a.cpu for a, _ in pairs)
        print(f"| {name} | {seconds:.3f} | {share:.1%} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
