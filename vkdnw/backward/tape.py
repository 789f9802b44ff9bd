"""A part of an autograd graph as a table of native data gradients, and how it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.backward.graph import Node
from vkdnw.backward.tape_nodes import padded_channels
from vkdnw.ops.backpropagate import Norm, backpropagate_


@dataclass(frozen=True)
class Region:
    """Gradients that a tape computes: those at the outputs of some nodes."""

    goals: tuple[Node, ...]
    start: Node | None = None
    """The node at whose output the gradient is given, a cotangent of the tape. None: the region
    begins at the tape's entries, with the gradients that autograd computes there."""


@dataclass(frozen=True)
class Tape:
    """The arguments of :func:`vkdnw.ops.backpropagate.backpropagate_` but cotangents and readings.

    Cotangents are the gradients at the entries, then those at the starts of regions.
    """

    entries: tuple[Node, ...]  # empty where no region begins there
    numbers: tuple[dict[Node, int], ...]
    """For each region: the value that holds the gradient at a node's output."""
    values: Tensor  # [V, 3]
    terms: Tensor  # [T, 8]
    weights: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    norms: tuple[Norm, ...]

    def run(
        self,
        planes: Tensor,
        cotangents: Sequence[Tensor],
        readings: Tensor,
        matrices: Tensor | None = None,
        products: Tensor | None = None,
    ) -> None:
        """Writes the channels that are read into ``planes``, and products into ``matrices``."""
        tables = self.values, self.terms, readings, self.norms, matrices, products
        backpropagate_(planes, cotangents, self.weights, self.masks, *tables)


def cotangents_at(node: Node, gradients: Tensor | None, count: int) -> Tensor:
    """Gradients ``[count, b, C, H, W]`` at a node as ``[count * b, D, H, W]`` channels_last.

    D is C filled up as the tape has it. None stands for zeros.
    """
    metadata = node._input_metadata[0]
    if gradients is None:
        gradients = torch.zeros(count, *metadata.shape, device=metadata.device)
    return filled(gradients.flatten(0, 1))


def filled(gradients: Tensor) -> Tensor:
    """``[N, C, H, W]`` as a tape has it: in channels_last, with channels filled up by zeros."""
    missing = padded_channels(gradients.shape[1]) - gradients.shape[1]
    if missing:
        gradients = F.pad(gradients, (0, 0, 0, 0, 0, missing))
    return gradients.contiguous(memory_format=torch.channels_last)


def table(rows: Sequence[tuple[int, ...]], columns: int) -> Tensor:
    """Rows of integers as the native op takes them, ``[R, columns]`` int64."""
    return torch.tensor(rows, dtype=torch.int64, device="cpu").view(-1, columns)
