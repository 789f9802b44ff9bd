"""The backward passes of a train-mode pass as one native tape.

From the logits to the input, and from every feature to the one before, gradients go through the
same layers. On one tape both are computed together: the values that BatchNorm and ReLU keep of the
forward pass are read once for both. The tape is compiled from the autograd graph
(:mod:`vkdnw.backward.tape_compiler`); if a part of it has no native layer, there is no tape, and
autograd differentiates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node, consumers
from vkdnw.backward.random_signs import Signs
from vkdnw.backward.tape import Region, Tape, cotangents_at, filled, table
from vkdnw.backward.tape_compiler import compile_tape
from vkdnw.backward.tape_nodes import padded_channels


@dataclass(frozen=True)
class Input:
    """Where the gradient of the input is in the graph."""

    edge: GradientEdge
    shape: torch.Size  # [B, C, H, W]


@dataclass(frozen=True)
class BlockProduct:
    """Products of cotangents with a block's Jacobian, from its output to its input."""

    cotangent: int  # the value that holds the cotangent
    arrival: int | None  # the one at the block's input: the cotangent itself if the block is empty;
    # None where nothing arrives
    product: tuple[int, int, int]  # [r^2, Ci, C] of its product, r the ratio of the sides

    @property
    def size(self) -> int:
        return math.prod(self.product)


@dataclass(frozen=True)
class TrainTape:
    """A tape of the graph's own gradients, if the input's is asked for, and of blocks."""

    tape: Tape
    input: int | None  # the value that holds the input's gradient, if it is asked for
    blocks: tuple[BlockProduct, ...]  # from the last to the first


@dataclass(frozen=True)
class TrainGradients:
    """The requested values that tapes have computed."""

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
    """The values of a tape: the gradient of the input and the products of the blocks.

    Both on one tape, or else each on one of its own: neither depends on the other.

    Args:
        logits: the graph's end.
        of_input: where the gradient of the input is asked for; None if it is not.
        features: F_0 .. F_K; empty if they are not asked for.
        cotangents: ``[B, C, H, W]`` of the features F_K .. F_1.
        of_logits: the cotangent of the logits, of their shape; ones by default.
    """
    end = logits, torch.ones_like(logits) if of_logits is None else of_logits
    if of_input is not None and features:
        found = _gradients(*end, of_input, features, cotangents)
        if found is not None:
            return found
    nothing = TrainGradients()
    alone = (of_input is not None and _gradients(*end, of_input, (), ())) or nothing
    blocks = (features and _gradients(*end, None, features, cotangents)) or nothing
    return TrainGradients(alone.input, blocks.products)


def _gradients(
    logits: Tensor,
    of_logits: Tensor,
    of_input: Input | None,
    features: Sequence[GradientEdge | None],
    cotangents: Sequence[Tensor | Signs],
) -> TrainGradients | None:
    train = compile_train_tape(logits, None if of_input is None else of_input.edge, features)
    if train is None:
        return None
    edges = [GradientEdge(node, 0) for node in train.tape.entries]
    entries = (
        torch.autograd.grad(logits, edges, of_logits, retain_graph=True, allow_unused=True)
        if edges
        else ()
    )
    return run_train_tape(train, entries, cotangents, None if of_input is None else of_input.shape)


def compile_train_tape(
    logits: Tensor, of_input: GradientEdge | None, features: Sequence[GradientEdge | None]
) -> TrainTape | None:
    """The tape to the input, and from each feature to the one before.

    Args:
        logits: the graph's end.
        of_input: where the gradient of the input is asked for; None if it is not.
        features: F_0 .. F_K, whose blocks are differentiated; empty if they are not.
    """
    points = [_node(edge) for edge in features][::-1]  # from the last feature to the first
    inputs = () if of_input is None else (_node(of_input),)
    users = consumers(logits)
    if any(node not in users for node in (*points, *inputs)):
        return None
    whole = [Region(inputs)] if inputs else []
    blocks = [Region((end,), start) for start, end in pairwise(points)]
    tape = compile_tape([*whole, *blocks], users)
    if tape is None:
        return None
    of_input_value = tape.numbers[0].get(inputs[0]) if inputs else None
    if inputs and of_input_value is None:
        return None
    numbers = tape.numbers[len(whole) :]
    return TrainTape(tape, of_input_value, tuple(map(_block, blocks, numbers)))


def _node(edge: GradientEdge | None) -> Node | None:
    return None if edge is None or edge.output_nr else edge.node


def _block(region: Region, numbers: dict[Node, int]) -> BlockProduct:
    start, goal = region.start, region.goals[0]
    return BlockProduct(numbers[start], numbers.get(goal), _product_shape(_map(goal), _map(start)))


def _map(node: Node) -> tuple[int, int]:
    """Channels of a node's output as the tape has it, and the length of its side."""
    _, channels, side, _ = node._input_metadata[0].shape
    return padded_channels(channels), side


def _product_shape(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int, int]:
    return (before[1] // after[1]) ** 2, before[0], after[0]


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
    entries = zip(train.tape.entries, gradients, strict=True)
    of_tape = [
        cotangents_at(node, None if each is None else each[None], 1) for node, each in entries
    ]
    of_tape += [_filled_cotangent(each) for each in cotangents]
    planes, readings = torch.empty(0, device="cpu"), []
    if shape is not None and train.input is not None:
        planes, plane = torch.empty(shape, device="cpu"), shape[2] * shape[3]
        readings = [(train.input, c, c * plane, shape[1] * plane) for c in range(shape[1])]
    firsts = list(accumulate((block.size + 1 for block in train.blocks), initial=0))
    matrices = torch.zeros(firsts.pop(), dtype=torch.float64, device="cpu")
    products = [
        (block.arrival, block.cotangent, first)
        for block, first in zip(train.blocks, firsts, strict=True)
        if block.arrival is not None and block.arrival != block.cotangent
    ]
    train.tape.run(planes.view(-1), of_tape, table(readings, 4), matrices, table(products, 3))
    return TrainGradients(
        planes if readings else None,
        [
            _product(block, matrices[first : first + block.size + 1])
            for block, first in zip(train.blocks, firsts, strict=True)
        ],
    )


def _filled_cotangent(cotangent: Tensor | Signs) -> Tensor:
    """A cotangent in the form of a tape: packed, or in channels_last, with channels filled up."""
    if isinstance(cotangent, Signs):
        packed = cotangent.packed
        return _filled_cotangent(cotangent.numbers()) if packed is None else packed
    return filled(cotangent.float())


def _product(block: BlockProduct, numbers: Tensor) -> Tensor | None:
    """The product from the tape's numbers; the last is 1 if the gradient is unchanged."""
    unchanged = block.arrival == block.cotangent or bool(numbers[-1])
    return None if unchanged else numbers[:-1].view(block.product)
