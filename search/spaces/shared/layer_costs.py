"""The cost of single layers, to be added up to that of a network: no module is built.

FLOPs are multiply-adds of convolutions, linear layers and products of attention, as torch's
FlopCounterMode counts them (halved); normalisations, activations and sums are not counted.
"""

from collections.abc import Iterable

from vkdnw.search.spaces.search_space import Cost

NOTHING = Cost(layers=0, flops=0, parameters=0)


def total(costs: Iterable[Cost]) -> Cost:
    """The cost of all of them together."""
    layers = flops = parameters = 0
    for cost in costs:
        layers += cost.layers
        flops += cost.flops
        parameters += cost.parameters
    return Cost(layers, flops, parameters)


def times(count: int, cost: Cost) -> Cost:
    """The cost of so many equal parts."""
    return Cost(count * cost.layers, count * cost.flops, count * cost.parameters)


def convolution(
    inputs: int, outputs: int, kernel: int, pixels: int, *, groups: int = 1, bias: bool = False
) -> Cost:
    """A square convolution whose output has so many pixels."""
    weights = inputs // groups * outputs * kernel**2
    return Cost(1 + bias, weights * pixels, weights + bias * outputs)


def linear(inputs: int, outputs: int, rows: int = 1) -> Cost:
    """A linear layer with a bias, applied to so many vectors."""
    return Cost(2, inputs * outputs * rows, inputs * outputs + outputs)


def normalisation(channels: int) -> Cost:
    """Weight and bias of a BatchNorm or a LayerNorm."""
    return Cost(2, 0, 2 * channels)


def convolution_bn(inputs: int, outputs: int, kernel: int, pixels: int, groups: int = 1) -> Cost:
    """A convolution without bias, and its BatchNorm."""
    layers = (convolution(inputs, outputs, kernel, pixels, groups=groups), normalisation(outputs))
    return total(layers)


def strided(side: int, stride: int) -> int:
    """The side of a padded convolution's output: odd sides are rounded up."""
    return -(-side // stride)
