"""Runs a tape of one region and returns the channels of gradients that are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.backward.tape import Tape, table


@dataclass(frozen=True)
class ReadChannels:
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
class TapeReadings:
    """A tape and the channels that are read from it."""

    tape: Tape
    blocks: tuple[ReadChannels, ...]  # by ascending value
    of_entry: dict[int, int]  # number of a plan's entry -> position of its block

    @property
    def numbers(self) -> int:
        """Numbers that are read of one row, i.e. of one sample and cotangent."""
        return sum(block.numbers for block in self.blocks)

    def gradients(self, cotangents: Sequence[Tensor]) -> dict[int, Tensor]:
        """Output gradients of the entries, ``[N, channels, H, W]``, from cotangents of N rows."""
        rows = len(cotangents[0])
        planes = torch.empty(rows * self.numbers, dtype=torch.float32, device=cotangents[0].device)
        tape = self.tape
        tape.run(planes, cotangents, self._readings(rows))
        views = [
            planes[rows * block.first :][: rows * block.numbers].view(
                rows, len(block.channels), block.height, block.width
            )
            for block in self.blocks
        ]
        return {entry: views[position] for entry, position in self.of_entry.items()}

    def _readings(self, rows: int) -> Tensor:
        rows_read = [
            (block.value, channel, rows * block.first + position * block.plane, block.numbers)
            for block in self.blocks
            for position, channel in enumerate(block.channels)
        ]
        return table(rows_read, 4)


def make_tape_readings(tape: Tape, read: dict[int, tuple[int, Tensor]]) -> TapeReadings:
    """Lays out the reads of entries, by number: some channels of the gradient of a value.

    Entries that read the same share it: all layers whose outputs are summed up have one gradient.
    """
    keys = {entry: (value, tuple(channels.tolist())) for entry, (value, channels) in read.items()}
    distinct = sorted(set(keys.values()))
    blocks: list[ReadChannels] = []
    first = 0
    for value, channels in distinct:
        _, height, width = tape.values[value].tolist()
        blocks.append(ReadChannels(value, channels, first, height, width))
        first += blocks[-1].numbers
    position = {key: number for number, key in enumerate(distinct)}
    return TapeReadings(tape, tuple(blocks), {entry: position[key] for entry, key in keys.items()})
