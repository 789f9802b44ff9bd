"""The inverted residuals that a block stands for, as sizes, for the network and for its costs."""

from typing import NamedTuple

from vkdnw.search.spaces.mobilenetv2.menus import round_width
from vkdnw.search.spaces.mobilenetv2.structure import InvertedResiduals


class Half(NamedTuple):
    """An inverted residual: 1x1 convolution, depthwise convolution, 1x1 convolution, shortcut."""

    inputs: int
    expanded: int
    outputs: int
    kernel: int
    stride: int
    projected: bool
    """Whether the shortcut is a 1x1 convolution, not the identity."""


def halves(block: InvertedResiduals) -> tuple[Half, Half, Half]:
    """The first half of the first pair, that of each further pair, and the second half of each.

    The very first shortcut is a projection even where the identity would do.
    """
    narrow, wide = block.bottleneck, block.outputs
    return (
        _half(block, block.inputs, narrow, block.stride, projected=True),
        _half(block, wide, narrow, 1, projected=wide != narrow),
        _half(block, narrow, wide, 1, projected=wide != narrow),
    )


def squeezed(expanded: int) -> int:
    """The channels between the two convolutions of squeeze-and-excitation."""
    return max(1, round(expanded / 4))


def _half(
    block: InvertedResiduals, inputs: int, outputs: int, stride: int, projected: bool
) -> Half:
    expanded = round_width(outputs * block.expansion)
    return Half(inputs, expanded, outputs, block.kernel, stride, projected)
