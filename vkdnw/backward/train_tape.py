"""The backward passes of a train-mode pass as one native tape.

From the logits to the input, and from every feature to the one before, gradients go through the
same layers. On one tape they do so side by side: what BatchNorm and ReLU remember of the forward
pass is fetched once for both. A tape is compiled from the autograd graph, which proves what it
does (:mod:`vkdnw.backward.tape`); where a part of it is not known, there is no tape,
and autograd differentiates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import consumers
from vkdnw.backward.node_kinds import padded_channels
from vkdnw.backward.signs import Signs
from vkdnw.backward.tape import Tape, compile_tape
from vkdnw.per_sample.reverse_mode.replay import seed


@dataclass(frozen=True)
class Input:
    """Where the gradient of the input is in the graph."""

    edge: GradientEdge
    shape: torch.Size  # [B, C, H, W]


@dataclass(frozen=True)
class Block:
    """What cotangents of a block's output become on the way to its input."""

    seed: int  # the value that holds the cotangent
    arrival: int | None  # the one at the block's input: the seed if that is its output as well;
    # None where nothing arrives
    product: tuple[int, int, int]  # [r^2, Ci, C] of its product, r the ratio of the sides

    @property
    def size(self) -> int:
        return math.prod(self.product)


@dataclass(frozen=True)
class TrainTape:
    """A tape whose seeds are the graph's own gradients at some nodes, then blocks' cotangents."""

    tape: Tape
    entries: tuple[GradientEdge, ...]  # where the graph's own gradients enter
    input: int | None  # the value that holds the input's gradient, if it is asked for
    blocks: tuple[Block, ...]  # from the last to the first


@dataclass(frozen=True)
class TrainGradients:
    """What tapes have computed of what was asked for."""

    input: Tensor | None = None  # [B, C, H, W]
    products: list[Tensor | None] | None = None
    """Of the blocks, from the last to the first: the sum over pixels of G_in^T G_out,
    ``[r^2, Ci, C]`` float64, channels filled up to a multiple of 16; None where G_in is G_out."""


def train_gradients(
    logits: Tensor,
    of_input: Input | None,
    features: Sequence[GradientEdge | None],
    cotangents: Sequence[Tensor | Signs],
    of_logits: Tensor | None = None,
) -> TrainGradients:
    """What a tape computes of the gradient of the input and of the products of the blocks.

    Both on one tape, or else each on one of its own: neither depends on the other.

    Args:
        logits: the graph's end.
        of_input: where the gradient of the input is asked for; None if it is not.
        features: F_0 .. F_K; empty if they are not asked for.
        cotangents: ``[B, C, H, W]`` of the features F_K .. F_1.
        of_logits: the cotangent of the logits, of their shape; ones by default.
    """
    end = _End(logits, torch.ones_like(logits) if of_logits is None else of_logits)
    if of_input is not None and features:
        found = _gradients(end, of_input, features, cotangents)
        if found is not None:
            return found
    nothing = TrainGradients()
    alone = (of_input is not None and _gradients(end, of_input, (), ())) or nothing
    blocks = (features and _gradients(end, None, features, cotangents)) or nothing
    return TrainGradients(alone.input, blocks.products)


@dataclass(frozen=True)
class _End:
    """Where the gradient of the input begins."""

    logits: Tensor
    cotangent: Tensor


def _gradients(
    end: _End,
    of_input: Input | None,
    features: Sequence[GradientEdge | None],
    cotangents: Sequence[Tensor | Signs],
) -> TrainGradients | None:
    train = compile_train_tape(end.logits, None if of_input is None else of_input.edge, features)
    if train is None:
        return None
    entries = (
        torch.autograd.grad(
            end.logits, list(train.entries), end.cotangent, retain_graph=True, allow_unused=True
        )
        if train.entries
        else ()
    )
    return run_train_tape(train, entries, cotangents, None if of_input is None else of_input.shape)


# ---- compiling -------------------------------------------------------------------------------


def compile_train_tape(
    logits: Tensor, of_input: GradientEdge | None, features: Sequence[GradientEdge | None]
) -> TrainTape | None:
    """The tape to the input, and from each feature to the one before.

    Args:
        logits: the graph's end.
        of_input: where the gradient of the input is asked for; None if it is not.
        features: F_0 .. F_K, whose blocks are differentiated; empty if they are not.
    """
    edges = list(features) if of_input is None else [*features, of_input]
    nodes = [None if edge is None or edge.output_nr else edge.node for edge in edges]
    users = consumers(logits)
    if any(node not in users for node in nodes):
        return None
    tape = compile_tape(nodes, users, nodes[: len(features)])
    if tape is None or any(node not in tape.number for node in nodes):
        return None
    numbers = [tape.number[node] for node in nodes]
    points = numbers[: len(features)][::-1]
    if points != sorted(points):  # features do not lie one behind the other
        return None
    return _Writer(tape, points, None if of_input is None else numbers[-1]).write()


@dataclass
class _Writer:
    """Copies terms of a tape: those that lead to the goal, and block by block those inside."""

    source: Tape
    points: list[int]  # values of the source at the ends of blocks, ascending
    goal: int | None
    values: list[list[int]] = field(default_factory=list)
    terms: list[list[int]] = field(default_factory=list)

    def write(self) -> TrainTape:
        shapes = self.source.values.tolist()
        entries = self.source.entries if self.goal is not None else ()
        whole = {number: self._add(shapes[number]) for number in range(len(entries))}
        blocks = [{point: self._add(shapes[point])} for point in self.points[:-1]]
        at = 0  # the block of the destination at hand
        for destination, rows in groupby(self.source.terms.tolist(), key=lambda row: row[2]):
            terms = list(rows)
            while at < len(blocks) and destination > self.points[at + 1]:
                at += 1
            copies = [whole] if entries else []
            if at < len(blocks) and destination > self.points[at]:
                copies.append(blocks[at])
            for numbers in copies:
                self._copy(terms, destination, shapes[destination], numbers)
        return TrainTape(
            self._tape(),
            tuple(GradientEdge(node, 0) for node in entries),
            None if self.goal is None else whole[self.goal],
            tuple(
                Block(numbers[start], numbers.get(end), _product_shape(shapes[end], shapes[start]))
                for start, end, numbers in zip(self.points, self.points[1:], blocks, strict=False)
            ),
        )

    def _add(self, shape: list[int]) -> int:
        self.values.append(shape)
        return len(self.values) - 1

    def _copy(
        self, terms: list[list[int]], destination: int, shape: list[int], numbers: dict[int, int]
    ) -> None:
        """Copies the terms of a destination whose sources have numbers in the copy."""
        inside = [row for row in terms if row[1] in numbers]
        if inside:
            numbers[destination] = self._add(shape)
            for layer, source, _, *constants in inside:
                self.terms.append([layer, numbers[source], numbers[destination], *constants])

    def _tape(self) -> Tape:
        return replace(
            self.source,
            entries=(),
            number={},
            values=torch.tensor(self.values, dtype=torch.int64, device="cpu").view(-1, 3),
            terms=torch.tensor(self.terms, dtype=torch.int64, device="cpu").view(-1, 8),
        )


# ---- running ---------------------------------------------------------------------------------


def run_train_tape(
    train: TrainTape,
    gradients: Sequence[Tensor | None],
    cotangents: Sequence[Tensor | Signs],
    shape: torch.Size | None,
) -> TrainGradients:
    """Runs a tape.

    Args:
        gradients: the graph's own, at the entries; None for zeros.
        cotangents: ``[B, C, H, W]`` of the features F_K .. F_1.
        shape: of the input, ``[B, C, H, W]``, if its gradient is asked for.
    """
    entries = zip(train.entries, gradients, strict=True)
    seeds = [seed(edge.node, None if each is None else each[None], 1) for edge, each in entries]
    seeds += [_seed(each) for each in cotangents]
    planes, readings = torch.empty(0, device="cpu"), []
    if shape is not None:
        planes, plane = torch.empty(shape, device="cpu"), shape[2] * shape[3]
        readings = [(train.input, c, c * plane, shape[1] * plane) for c in range(shape[1])]
    firsts = list(accumulate((block.size + 1 for block in train.blocks), initial=0))
    matrices = torch.zeros(firsts.pop(), dtype=torch.float64, device="cpu")
    products = [
        (block.arrival, block.seed, first)
        for block, first in zip(train.blocks, firsts, strict=True)
        if block.arrival not in (None, block.seed)
    ]
    train.tape.run(planes.view(-1), seeds, _table(readings, 4), matrices, _table(products, 3))
    return TrainGradients(
        planes if readings else None,
        [
            _product(block, matrices[first : first + block.size + 1])
            for block, first in zip(train.blocks, firsts, strict=True)
        ],
    )


def _seed(cotangent: Tensor | Signs) -> Tensor:
    """As a tape has it: packed, or in channels_last, with channels filled up."""
    if isinstance(cotangent, Signs):
        packed = cotangent.packed
        return _seed(cotangent.numbers()) if packed is None else packed
    missing = padded_channels(cotangent.shape[1]) - cotangent.shape[1]
    filled = F.pad(cotangent, (0, 0, 0, 0, 0, missing)) if missing else cotangent
    return filled.float().contiguous(memory_format=torch.channels_last)


def _product_shape(wide: list[int], narrow: list[int]) -> tuple[int, int, int]:
    return (wide[1] // narrow[1]) ** 2, wide[0], narrow[0]


def _table(rows: list[tuple[Any, ...]], columns: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64, device="cpu").view(-1, columns)


def _product(block: Block, numbers: Tensor) -> Tensor | None:
    """Of the numbers that the tape wrote, the last of which says whether nothing was changed."""
    unchanged = block.arrival == block.seed or bool(numbers[-1])
    return None if unchanged else numbers[:-1].view(block.product)
