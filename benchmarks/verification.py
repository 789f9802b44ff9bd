"""Costs of verifying a score: with the comparison with plain autograd, and without.

Networks of NAS-Bench-201, of the MobileNetV2 space, and two transformers. Both versions run in
turn, in one process, and every ratio is taken within a round; the median is printed, of CPU seconds
on one thread. The last column is the least that such a check can take: two samples, alone, through
torch's own forward and backward pass, and nothing else.

    OMP_NUM_THREADS=1 python benchmarks/verification.py [--rounds 9] [--batch-size B] [--only WORD]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import scoring
import torch
from measure.in_turn import Cost, costs
from torch import Tensor, nn

import vkdnw
from vkdnw.per_sample.verification import Verification
from vkdnw.weights import DEFAULT, Weights, select

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


@dataclass(frozen=True)
class Case:
    """A model, its batch, and which scalars are scored."""

    name: str
    model: nn.Module
    batch: Tensor
    weights: Weights = DEFAULT

    def of_size(self, size: int | None) -> Tensor:
        """So many samples; the batch again and again where it has fewer."""
        return self.batch if size is None else self.batch[torch.arange(size) % len(self.batch)]


def cases() -> list[Case]:
    torch.manual_seed(0)
    cells = [
        Case(f"NAS-Bench-201, {name}", scoring.network(name), scoring.images())
        for name in scoring.NETWORKS
    ]
    inverted = [
        Case(
            f"MobileNetV2, {name}",
            mobilenetv2.network(name),
            mobilenetv2.images(),
            mobilenetv2.WEIGHTS,
        )
        for name in mobilenetv2.NETWORKS
    ]
    images, words = torch.randn(32, 3, 32, 32), torch.randint(1000, (32, 64))
    return [
        *cells,
        *inverted,
        Case("transformer of images", Images().eval(), images),
        Case("transformer of words", Words().eval(), words),
    ]


def scored(case: Case, batch: Tensor) -> object:
    return vkdnw.score(case.model, batch, weights=case.weights)


def without(case: Case, batch: Tensor) -> object:
    """The same score, compared with nothing."""
    with patch.object(Verification, "expected", lambda self, cotangents: []):
        return scored(case, batch)


def two_alone(case: Case, batch: Tensor) -> object:
    """The derivatives of two samples, by torch."""
    named = dict(case.model.named_parameters())
    chosen = [named[name] for name in select(case.model, case.weights).names]
    logits = case.model(batch[-2:].clone())
    return torch.autograd.grad(logits, chosen, torch.ones_like(logits), allow_unused=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, help="by default that of each kind's figures")
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"| {torch.get_num_threads()} threads | batch | CPU seconds | check | two alone |")
    print("|---|---|---|---|---|")
    for case in cases():
        if options.only not in case.name:
            continue
        batch = case.of_size(options.batch_size)
        calls = {"with": scored, "without": without, "two alone": two_alone}
        versions = {name: partial(call, case, batch) for name, call in calls.items()}
        measured = costs(versions, options.rounds)

        def share(name: str, found: dict[str, list[Cost]] = measured) -> float:
            pairs = zip(found["with"], found[name], strict=True)
            return statistics.median(part.cpu / whole.cpu for whole, part in pairs)

        seconds = statistics.median(cost.cpu for cost in measured["with"])
        columns = f"{seconds:.3f} | {1 - share('without'):.1%} | {share('two alone'):.1%}"
        print(f"| {case.name} | {len(batch)} | {columns} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
