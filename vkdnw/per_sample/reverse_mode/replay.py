"""Runs a chunk's tape, and hands the gradients that picks read to the entries of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.backward.graph import Node
from vkdnw.backward.node_kinds import padded_channels
from vkdnw.backward.tape import Tape


@dataclass(frozen=True)
class Block:
    """The channels ``[N, len(channels), H, W]`` of one value that some entries read."""

    value: int
    channels: tuple[int, ...]
    first: int  # place among the numbers that are read of one row
    height: int
    width: int

    @property
    def plane(self) -> int:
        """Numbers of one channel."""
        return self.height * self.width

    @property
    def numbers(self) -> int:
        """Numbers of one row."""
        return len(self.channels) * self.plane


@dataclass(frozen=True)
class Replay:
    """A tape and what is read from it."""

    tape: Tape
    blocks: tuple[Block, ...]  # by ascending value
    of_entry: dict[int, int]  # number of a plan's entry -> position of its block

    @property
    def numbers(self) -> int:
        """Numbers that are read of one row, i.e. of one sample and cotangent."""
        return sum(block.numbers for block in self.blocks)

    def gradients(self, seeds: Sequence[Tensor]) -> dict[int, Tensor]:
        """Output gradients of the entries, ``[N, channels, H, W]`` each, from seeds of N rows."""
        rows = len(seeds[0])
        planes = torch.empty(rows * self.numbers, dtype=torch.float32, device="cpu")
        tape = self.tape
        tape.run(planes, seeds, self._readings(rows))
        views = [
            planes[rows * block.first :][: rows * block.numbers].view(
                rows, len(block.channels), block.height, block.width
            )
            for block in self.blocks
        ]
        return {entry: views[position] for entry, position in self.of_entry.items()}

    def _readings(self, rows: int) -> Tensor:
        table = [
            (block.value, channel, rows * block.first + position * block.plane, block.numbers)
            for block in self.blocks
            for position, channel in enumerate(block.channels)
        ]
        return torch.tensor(table, dtype=torch.int64, device="cpu").view(-1, 4)


def make_replay(tape: Tape, read: dict[int, tuple[int, Tensor]]) -> Replay:
    """Lays out what entries, by number, read: some channels of the gradient of a value.

    Entries that read the same share it: all layers whose outputs are summed up have one gradient.
    """
    keys = {entry: (value, tuple(channels.tolist())) for entry, (value, channels) in read.items()}
    distinct = sorted(set(keys.values()))
    blocks: list[Block] = []
    first = 0
    for value, channels in distinct:
        _, height, width = tape.values[value].tolist()
        blocks.append(Block(value, channels, first, height, width))
        first += blocks[-1].numbers
    position = {key: number for number, key in enumerate(distinct)}
    return Replay(tape, tuple(blocks), {entry: position[key] for entry, key in keys.items()})


def seed(node: Node, gradients: Tensor | None, count: int) -> Tensor:
    """Gradients ``[count, b, C, H, W]`` at a node as ``[count * b, D, H, W]`` channels_last.

    D is C filled up as the tape has it. None stands for zeros.
    """
    rows, *image = node._input_metadata[0].shape
    if gradients is None:
        gradients = torch.zeros(count, rows, *image, device="cpu")
    missing = padded_channels(image[0]) - image[0]
    gradients = F.pad(gradients.flatten(0, 1), (0, 0, 0, 0, 0, missing))
    return gradients.contiguous(memory_format=torch.channels_last)
