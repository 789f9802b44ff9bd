"""The cost of an architecture of TransNAS-Bench-101, from its string alone."""

from collections.abc import Iterator, Sequence

from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.counting import (
    IMAGE_CHANNELS,
    BatchNorm,
    Convolution,
    Formula,
    GlobalPool,
    Layer,
    Linear,
    ReLU,
    cost,
)
from vkdnw.search.spaces.shared.layer_costs import strided
from vkdnw.search.spaces.transnas.architecture import EDGES, KERNELS, SKIP, Architecture

TILES = (1, 9)
"""Whole images, or the nine of the jigsaw task."""


def network_cost(
    architecture: Architecture,
    channels: int = 64,
    classes: int = 100,
    resolution: int = 256,
    tiles: int = 1,
    formula: Formula = "exact",
) -> Cost:
    """Parameter tensors, FLOPs and parameters of encoder and classifier, for one image.

    FLOPs are multiply-adds of convolutions and of the linear layer, or the count of NASLib's
    tables, `tensorwatch`; see `counting.cost`. ``resolution`` is that of a tile where there are
    nine, all of which are counted.
    """
    encoder = list(encoder_layers(architecture, channels, resolution))
    width, side = final(architecture, channels, resolution)
    read = tiles * width
    whole = cost(encoder, formula)
    head = cost([GlobalPool(read, side, side), Linear(read, classes)], formula)
    return Cost(
        whole.layers + head.layers,
        tiles * whole.flops + head.flops,
        whole.parameters + head.parameters,
    )


def steps(modules: Sequence[int], channels: int) -> Iterator[tuple[int, int, int]]:
    """(channels in, channels out, stride) of each module."""
    for digit in modules:
        outputs = 2 * channels if digit % 2 == 0 else channels
        yield channels, outputs, 2 if digit > 2 else 1
        channels = outputs


def final(architecture: Architecture, channels: int, resolution: int) -> tuple[int, int]:
    """The channels and the side of the encoder's output."""
    side = strided(strided(resolution, 2), 2)
    for _, outputs, stride in steps(architecture.modules, channels):
        channels, side = outputs, strided(side, stride)
    return channels, side


def encoder_layers(architecture: Architecture, channels: int, resolution: int) -> Iterator[Layer]:
    """The layers of the encoder, in the order of its parameters."""
    half, side = channels // 2, strided(resolution, 2)
    yield Convolution(IMAGE_CHANNELS, half, 3, side**2)
    yield BatchNorm(half, side**2)
    yield ReLU(half, side**2)
    side = strided(side, 2)
    yield Convolution(half, channels, 3, side**2)
    yield BatchNorm(channels, side**2)
    for inputs, outputs, stride in steps(architecture.modules, channels):
        after = strided(side, stride)
        for read, before in ((inputs, side), (outputs, after)):
            if architecture.cell is None:
                yield from _basic(read, outputs, before**2, after**2)
            else:
                yield from _cell(architecture.cell, read, outputs, before**2, after**2)
        side = after


def _basic(inputs: int, outputs: int, before: int, after: int) -> Iterator[Layer]:
    yield from _relu_conv_bn(inputs, outputs, 3, before, after)
    yield from _relu_conv_bn(outputs, outputs, 3, after, after)
    if inputs != outputs or before != after:
        yield Convolution(inputs, outputs, 1, after)
        yield BatchNorm(outputs, after)


def _cell(
    operations: Sequence[int], inputs: int, outputs: int, before: int, after: int
) -> Iterator[Layer]:
    for (_, source), operation in zip(EDGES, operations, strict=True):
        read, pixels = (outputs, after) if source else (inputs, before)
        if operation in KERNELS:
            yield from _relu_conv_bn(read, outputs, KERNELS[operation], pixels, after)
        elif operation == SKIP and (read, pixels) != (outputs, after):
            yield ReLU(read, pixels)
            yield Convolution(read, outputs // 2, 1, after)
            yield Convolution(read, outputs - outputs // 2, 1, after)
            yield BatchNorm(outputs, after)


def _relu_conv_bn(
    inputs: int, outputs: int, kernel: int, before: int, after: int
) -> Iterator[Layer]:
    yield ReLU(inputs, before)
    yield Convolution(inputs, outputs, kernel, after)
    yield BatchNorm(outputs, after)
