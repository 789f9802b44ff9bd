"""The cost of an architecture of NATS-Bench's size space, from its channels alone."""

from collections.abc import Iterator, Sequence

from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nats_sss.architecture import CELL, parse
from vkdnw.search.spaces.nb201.architecture import CONVOLUTIONS
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.counting import IMAGE_CHANNELS
from vkdnw.search.spaces.shared.layer_costs import (
    convolution,
    convolution_bn,
    linear,
    normalisation,
    total,
)

REDUCTIONS = (1, 3)
"""The layers that halve the image; the others are cells."""


def size_cost(arch: str, classes: int = 10, resolution: int = 32) -> Cost:
    """Parameters, layers and FLOPs for one image, as NATS-Bench counts its networks.

    FLOPs are multiply-adds of convolutions and of the linear layer, and one for each of its biases,
    as in NAS-Bench-201. Raises `ArchitectureError` for a bad string.
    """
    counted = total(layer_costs(parse(arch), classes, resolution))
    return Cost(counted.layers, counted.flops + classes, counted.parameters)


def steps(channels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(channels in, channels out) of each of the five layers."""
    return zip((channels[0], *channels), channels, strict=False)


def layer_costs(channels: Sequence[int], classes: int, resolution: int) -> Iterator[Cost]:
    """The costs of the layers of a network, in the order of its parameters."""
    pixels = resolution**2
    yield convolution_bn(IMAGE_CHANNELS, channels[0], 3, pixels)
    for layer, (inputs, outputs) in enumerate(steps(channels)):
        if layer in REDUCTIONS:
            pixels //= 4
            yield convolution_bn(inputs, outputs, 3, pixels)
            yield convolution_bn(outputs, outputs, 3, pixels)
            yield convolution(inputs, outputs, 1, pixels)
        else:
            yield from _cell(inputs, outputs, pixels)
    yield normalisation(channels[-1])
    yield linear(channels[-1], classes)


def _cell(inputs: int, outputs: int, pixels: int) -> Iterator[Cost]:
    for edge, operation in zip(nb201.EDGES, nb201.parse(CELL), strict=True):
        read = outputs if edge.source else inputs
        if operation in CONVOLUTIONS:
            yield convolution_bn(read, outputs, CONVOLUTIONS[operation], pixels)
        elif read != outputs:  # a skip connection that has to change the channels
            yield convolution_bn(read, outputs, 1, pixels)
