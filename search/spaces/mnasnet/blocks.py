"""The blocks that an architecture stands for, and their cost."""

from collections.abc import Iterator, Sequence
from typing import Literal

from vkdnw.search.spaces.mnasnet.architecture import stages
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared import mbconv
from vkdnw.search.spaces.shared.layer_costs import convolution_bn, linear, strided, total
from vkdnw.search.spaces.shared.mbconv import MBConv

Formula = Literal["exact", "table"]
FORMULAS: tuple[Formula, ...] = ("exact", "table")

STEM = 32
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
LAST_CHANNELS = 1280

_PER_NORMALISED = 4
"""Operations that thop counts for every scalar that a BatchNorm reads."""


def blocks_of(architecture: str) -> list[list[MBConv]]:
    """The blocks of each stage."""
    made, inputs = [], STEM
    for stage, outputs, stride in zip(stages(architecture), WIDTHS, STRIDES, strict=True):
        first = MBConv(inputs, outputs, stage.expansion, stage.kernel, stride, stage.excited)
        more = MBConv(outputs, outputs, stage.expansion, stage.kernel, 1, stage.excited)
        made.append([first, *[more] * (stage.blocks - 1)])
        inputs = outputs
    return made


def cost(architecture: str, classes: int, resolution: int, formula: Formula = "exact") -> Cost:
    """Layers, FLOPs and parameters of the network, for one image.

    ``formula="table"`` counts FLOPs as the column ``mmacs`` of Accel-NASBench does (thop): besides
    multiply-adds, four operations for every scalar that a BatchNorm reads, and the means.
    """
    blocks = [block for stage in blocks_of(architecture) for block in stage]
    sides = _sides(blocks, strided(resolution, 2))
    costs = [
        convolution_bn(3, STEM, 3, sides[0] ** 2),
        *(mbconv.cost(block, side) for block, side in zip(blocks, sides[:-1], strict=True)),
        convolution_bn(WIDTHS[-1], LAST_CHANNELS, 1, sides[-1] ** 2),
        linear(LAST_CHANNELS, classes),
    ]
    exact = total(costs)
    if formula == "exact":
        return exact
    more = _PER_NORMALISED * sum(_normalised(blocks, sides)) + sum(_pooled(blocks, sides))
    return Cost(exact.layers, exact.flops + more, exact.parameters)


def _sides(blocks: Sequence[MBConv], side: int) -> list[int]:
    """The sides of each block's input, and of the last one's output."""
    sides = [side]
    for block in blocks:
        sides.append(strided(sides[-1], block.stride))
    return sides


def _normalised(blocks: Sequence[MBConv], sides: Sequence[int]) -> Iterator[int]:
    """Scalars that the BatchNorms read."""
    yield STEM * sides[0] ** 2
    for block, before, after in zip(blocks, sides[:-1], sides[1:], strict=True):
        yield (block.expanded + block.outputs) * after**2
        if block.expansion != 1:
            yield block.expanded * before**2
    yield LAST_CHANNELS * sides[-1] ** 2


def _pooled(blocks: Sequence[MBConv], sides: Sequence[int]) -> Iterator[int]:
    """Sums and divisions of the means over pixels."""
    for block, after in zip(blocks, sides[1:], strict=True):
        if block.excited:
            yield block.expanded * (after**2 + 1)
    yield LAST_CHANNELS * (sides[-1] ** 2 + 1)
