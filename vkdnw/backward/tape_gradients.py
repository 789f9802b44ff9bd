"""Runs tapes of one region and returns the channels of gradients that are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.backward.tape import Tape, table
from vkdnw.ops.backpropagate import NONE


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
        self.tape.run(planes, cotangents, self.readings(rows))
        return self.views(planes, rows)

    def views(self, planes: Tensor, rows: int) -> dict[int, Tensor]:
        """The gradients of the entries in the numbers that a run has written."""
        views = [
            planes[rows * block.first :][: rows * block.numbers].view(
                rows, len(block.channels), block.height, block.width
            )
            for block in self.blocks
        ]
        return {entry: views[position] for entry, position in self.of_entry.items()}

    def readings(self, rows: int) -> Tensor:
        """The op's table for cotangents of so many rows, ``[R, 4]``."""
        rows_read = [
            (block.value, channel, rows * block.first + position * block.plane, block.numbers)
            for block in self.blocks
            for position, channel in enumerate(block.channels)
        ]
        return table(rows_read, 4)


_ALIGNMENT = 128  # numbers: a tape's planes begin where they would begin alone


def gradients_of_all(
    runs: Sequence[tuple[TapeReadings, Sequence[Tensor]]],
) -> list[dict[int, Tensor]]:
    """:meth:`TapeReadings.gradients` of several tapes, each from its cotangents, in one run.

    All cotangents have as many rows. The bits are those of each tape's own run. The joined tape has
    the values of all cotangents first, then the others, tape by tape.
    """
    if len(runs) == 1:
        ((readings, cotangents),) = runs
        return [readings.gradients(cotangents)]
    rows = len(runs[0][1][0])
    parts: list[tuple[Tensor, ...]] = []
    planes_of: list[int] = []
    given, value = 0, sum(len(cotangents) for _, cotangents in runs)
    weight = mask = plane = 0
    for readings, cotangents in runs:
        tape, own = readings.tape, len(cotangents)
        end = value + len(tape.values) - own
        place = torch.tensor([*range(given, given + own), *range(value, end)], device="cpu")
        terms, read = tape.terms.clone(), readings.readings(rows)
        terms[:, 1:3] = place[terms[:, 1:3]]
        terms[:, 3] += weight * (terms[:, 3] != NONE)
        terms[:, 4] += mask * (terms[:, 4] != NONE)
        read[:, 0] = place[read[:, 0]]
        read[:, 2] += plane
        parts.append((tape.values[:own], tape.values[own:], terms, read))
        planes_of.append(plane)
        given, value = given + own, end
        weight, mask = weight + len(tape.weights), mask + len(tape.masks)
        plane += -(-rows * readings.numbers // _ALIGNMENT) * _ALIGNMENT
    of_cotangents, of_others, terms, read = map(torch.cat, zip(*parts, strict=True))
    tapes = [readings.tape for readings, _ in runs]
    joined = Tape(
        (),
        (),
        torch.cat([of_cotangents, of_others]),
        terms,
        tuple(each for tape in tapes for each in tape.weights),
        tuple(each for tape in tapes for each in tape.masks),
        (),
    )
    every = [each for _, cotangents in runs for each in cotangents]
    planes = torch.empty(plane, dtype=torch.float32, device=every[0].device)
    joined.run(planes, every, read[read[:, 0].argsort(stable=True)])
    return [
        readings.views(planes[start:], rows)
        for (readings, _), start in zip(runs, planes_of, strict=True)
    ]


def make_tape_readings(tape: Tape, read: dict[int, tuple[int, Tensor]]) -> TapeReadings:
    """Lays out the reads of entries, by number: some channels of the gradient of a value.

    Entries that read the same channels share them: summed outputs have one gradient.
    """
    keys = {entry: (value, tuple(channels.tolist())) for entry, (value, channels) in read.items()}
    distinct = sorted(set(keys.values()))
    blocks: list[ReadChannels] = []
    first = 0
    sizes = tape.values.tolist()
    for value, channels in distinct:
        _, height, width = sizes[value]
        blocks.append(ReadChannels(value, channels, first, height, width))
        first += blocks[-1].numbers
    position = {key: number for number, key in enumerate(distinct)}
    return TapeReadings(tape, tuple(blocks), {entry: position[key] for entry, key in keys.items()})
