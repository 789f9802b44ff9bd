"""Composes a model from a seed: a stem, some parts, and a classifier.

A part is an element, or a wrapper around a part. In one model of two every part is plain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.library.cases.case import converted, randomise
from tests.library.fuzz.elements import (
    ACTIVATIONS,
    COUNTING,
    LAYERS,
    MIXING,
    OTHER_LAYERS,
    OWN_FUNCTIONS,
    RANDOM,
    STEPS,
    VIEWS,
    WIDTH,
    Element,
    Kind,
    Label,
)
from tests.library.fuzz.wrappers import WRAPPERS, Wrapper

PLAIN_FAMILIES = [LAYERS, LAYERS, OTHER_LAYERS, ACTIVATIONS, VIEWS, OWN_FUNCTIONS]
OTHER_FAMILIES = [RANDOM, MIXING, COUNTING]
CLASSES = 3


@dataclass
class Part:
    """A module, the words it is made of, and the outcomes that are right for it."""

    module: nn.Module
    words: str
    used: list[Element | Wrapper]


@dataclass(frozen=True)
class Composed:
    """A model that a seed makes, with its batch."""

    model: nn.Module  # float32, in eval mode
    batch: Tensor
    words: str
    labels: frozenset[Label]
    roundings: frozenset[torch.dtype]
    every_weight: bool

    def inputs(self, dtype: torch.dtype) -> Tensor:
        batch: Tensor = converted(self.batch, dtype)
        return batch


class Network(nn.Module):
    def __init__(self, tokens: bool, parts: list[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Embedding(7, WIDTH) if tokens else nn.Identity()
        self.parts = nn.Sequential(*parts)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.parts(self.stem(x))
        if y.dim() == 4:
            y = y.mean((2, 3))
        return self.head(y.mean(1) if y.dim() == 3 else y)


def composed(seed: int) -> Composed:
    """The model of a seed: the same one whenever it is asked for."""
    draws = random.Random(seed)
    kind: Kind = draws.choice(["images", "vectors", "sequences"])
    parts = _parts(draws, kind)
    while _is_known_gap(parts):
        parts = _parts(draws, kind)
    size = draws.choice([3, 5, 9])
    tokens = kind == "sequences" and draws.random() < 0.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Network(tokens, [part.module for part in parts])
        randomise(model)
        batch = torch.randint(7, (size, STEPS)) if tokens else torch.randn(size, *SHAPES[kind])
    used = [each for part in parts for each in part.used]
    return Composed(
        model.eval(),
        batch,
        f"{size} {'tokens' if tokens else kind}: " + "; ".join(part.words for part in parts),
        frozenset(each.label for each in used),
        frozenset(each.rounding for each in used if each.rounding is not None),
        draws.random() < 0.5,
    )


SHAPES: dict[Kind, tuple[int, ...]] = {
    "images": (WIDTH, 6, 6),
    "vectors": (WIDTH,),
    "sequences": (STEPS, WIDTH),
}


def _parts(draws: random.Random, kind: Kind) -> list[Part]:
    parts = [_part(draws, kind, 2) for _ in range(draws.randint(1, 4))]
    if draws.random() < 0.5:
        parts.insert(draws.randint(0, len(parts)), _refused(draws, kind))
    return parts


def _is_known_gap(parts: list[Part]) -> bool:
    """Samples that mix in their derivatives and not in their logits (docs/correctness.md).

    The sign of a sample does not show by how much the batch's maximum divided it; the slope of a
    straight-through estimator does.
    """
    mixing = any(each.label == "mixing" for part in parts for each in part.used)
    return mixing and any("straight through" in part.words for part in parts)


def _part(draws: random.Random, kind: Kind, depth: int) -> Part:
    if depth and draws.random() < 0.5:
        plain = [each for each in WRAPPERS if each.label == "plain"]
        return _wrapped(draws.choice(plain), _part(draws, kind, depth - 1))
    family = draws.choice(PLAIN_FAMILIES)
    part = _element(draws, kind, draws.choice([each for each in family if kind in each.kinds]))
    if family is LAYERS and draws.random() < 0.4:
        return Part(
            nn.Sequential(part.module, nn.ReLU(inplace=True)), f"{part.words}, relu_", part.used
        )
    return part


def _refused(draws: random.Random, kind: Kind) -> Part:
    """A part that is not plain, inside up to one wrapper."""
    hidden = [each for each in WRAPPERS if each.label == "hidden"]
    family = draws.choice([*OTHER_FAMILIES, hidden])
    if family is hidden:
        return _wrapped(draws.choice(hidden), _part(draws, kind, 1))
    part = _element(draws, kind, draws.choice([each for each in family if kind in each.kinds]))
    return _wrapped(draws.choice(WRAPPERS), part) if draws.random() < 0.3 else part


def _element(draws: random.Random, kind: Kind, element: Element) -> Part:
    return Part(element.build(draws, kind), element.name, [element])


def _wrapped(wrapper: Wrapper, part: Part) -> Part:
    if wrapper.name == "reused under parametrize.cached" and "checkpoint(" in part.words:
        return part  # run again outside the block it holds other tensors, and torch refuses
    if wrapper.name == "checkpoint" and "torch.func.grad" in part.words:
        return part  # torch refuses: torch.func.grad cannot run under saved tensor hooks
    return Part(wrapper.build(part.module), f"{wrapper.name}({part.words})", [wrapper, *part.used])
