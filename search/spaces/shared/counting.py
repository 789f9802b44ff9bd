"""Costs of networks by published formulas, from lists of their layers.

Where a published table counts FLOPs in a way of its own, a space lists the layers of a network with
the sizes that decide their costs, and `cost` adds them up in either way.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared import layer_costs

IMAGE_CHANNELS = 3


class Convolution(NamedTuple):
    """Without a bias."""

    inputs: int
    outputs: int
    kernel: int
    pixels: int
    """Of its output."""
    groups: int = 1


class BatchNorm(NamedTuple):
    channels: int
    pixels: int
    affine: bool = True


class ReLU(NamedTuple):
    channels: int
    pixels: int


class Pool(NamedTuple):
    """A maximum or mean over windows; the whole kernel is counted, whatever the padding."""

    channels: int
    pixels: int
    """Of its output."""
    kernel: int = 3


class GlobalPool(NamedTuple):
    channels: int
    height: int
    width: int


class Linear(NamedTuple):
    """With a bias."""

    inputs: int
    outputs: int


Layer = Convolution | BatchNorm | ReLU | Pool | GlobalPool | Linear

Formula = Literal["exact", "tensorwatch"]
FORMULAS: tuple[Formula, ...] = ("exact", "tensorwatch")


def cost(layers: Iterable[Layer], formula: Formula = "exact") -> Cost:
    """Parameter tensors, FLOPs and parameters of a network, for one image.

    FLOPs are the multiply-adds of convolutions and linear layers (`exact`), or the numbers that the
    tables of NASLib hold (`tensorwatch`, after the tool that counted them): these and, for each
    value, 2 in a BatchNorm (1 without weights), 1 in a ReLU, the kernel's area in a pooling, and 1
    in the global pooling, which is taken to be one row and one column larger than it is.
    """
    layers = list(layers)
    counted = layer_costs.total(map(_exact, layers))
    if formula == "exact":
        return counted
    flops = counted.flops + sum(map(_other_operations, layers))
    return Cost(counted.layers, flops, counted.parameters)


def _exact(layer: Layer) -> Cost:
    match layer:
        case Convolution(inputs, outputs, kernel, pixels, groups):
            return layer_costs.convolution(inputs, outputs, kernel, pixels, groups=groups)
        case BatchNorm(channels, _, True):
            return layer_costs.normalisation(channels)
        case Linear(inputs, outputs):
            return layer_costs.linear(inputs, outputs)
    return layer_costs.NOTHING


def _other_operations(layer: Layer) -> int:
    """The operations that the tool counts besides multiply-adds."""
    match layer:
        case BatchNorm(channels, pixels, affine):
            return channels * pixels * (1 + affine)
        case ReLU(channels, pixels):
            return channels * pixels
        case Pool(channels, pixels, kernel):
            return kernel**2 * channels * pixels
        case GlobalPool(channels, height, width):
            return channels * (height + 1) * (width + 1)
    return 0
