"""The alternatives of a block: widths, depths and types of inverted residuals."""

from functools import cache
from itertools import product

from vkdnw.search.spaces.mobilenetv2.structure import (
    DEPTHWISE_KERNELS,
    EXPANSIONS,
    Block,
    Convolutions,
    InvertedResiduals,
)

WIDTH_MULTIPLE = 8
_WIDTH_FACTORS = (2.5, 2, 1.5, 1.25, 1, 1 / 1.25, 1 / 1.5, 1 / 2, 1 / 2.5)
_DEPTH_STEPS = (0, 1, 2, -1, -2)

TYPES = tuple((expansion, kernel) for kernel in DEPTHWISE_KERNELS for expansion in EXPANSIONS)
"""The twelve types of inverted residuals: expansion and kernel, small kernels first."""

RELEASED_WEIGHTS = (12, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
"""How often the authors' search offers each of `TYPES`: its lists of candidates are cumulative."""


@cache
def round_width(channels: float) -> int:
    """The nearest multiple of 8, ties to the even one, and at least 8."""
    return max(WIDTH_MULTIPLE, round(channels / WIDTH_MULTIPLE) * WIDTH_MULTIPLE)


@cache
def widths(channels: int) -> tuple[int, ...]:
    """The widths that may replace a width, itself included, widest first; at most nine."""
    choices = (round_width(max(WIDTH_MULTIPLE, channels * factor)) for factor in _WIDTH_FACTORS)
    return tuple(dict.fromkeys(choices))


@cache
def depths(sublayers: int) -> tuple[int, ...]:
    """The numbers of sub-layers that may replace a number, itself first; all positive."""
    return tuple(sublayers + step for step in _DEPTH_STEPS if sublayers + step > 0)


def is_fixed(block: Block) -> bool:
    """Whether nothing replaces a block: the 1x1 convolutions at the end keep their width."""
    return isinstance(block, Convolutions) and block.kernel == 1


def replacements(block: Block) -> tuple[Block, ...]:
    """All that may replace a block, itself included, each once. `mutate` draws without listing."""
    if isinstance(block, InvertedResiduals):
        return tuple(
            InvertedResiduals(
                expansion, kernel, block.inputs, outputs, block.stride, bottleneck, sublayers
            )
            for (expansion, kernel), outputs, sublayers, bottleneck in product(
                TYPES, widths(block.outputs), depths(block.sublayers), widths(block.bottleneck)
            )
        )
    outputs_choices = (block.outputs,) if is_fixed(block) else widths(block.outputs)
    return tuple(
        Convolutions(block.kernel, block.inputs, outputs, block.stride, 1)
        for outputs in outputs_choices
    )
