"""The layers that a string of NAS-Bench-Macro stands for, for the network and for its costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from vkdnw.search.spaces.nb_macro.architecture import EXPANSION_AND_KERNEL, stages
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared import mbconv
from vkdnw.search.spaces.shared.layer_costs import NOTHING, convolution_bn, linear, strided, total
from vkdnw.search.spaces.shared.mbconv import MBConv

LAST_CHANNELS = 1280


@dataclass(frozen=True, slots=True)
class Identity:
    """Nothing at stride 1; at the head of a stage a strided 1x1 convolution and its BatchNorm."""

    inputs: int
    outputs: int
    stride: int

    def __str__(self) -> str:
        if self.stride == 1:
            return "identity"
        return f"conv 1x1 {self.inputs} -> {self.outputs} /{self.stride}"


Layer = MBConv | Identity


def layers_of(architecture: str, channels: int) -> list[list[Layer]]:
    """The layers of each stage; ``channels`` are those of the stem."""
    made: list[list[Layer]] = []
    for stage in stages(architecture):
        wide = 2 * channels
        sizes = [(channels, 2), *[(wide, 1)] * (len(stage) - 1)]
        made.append([_layer(op, n, wide, s) for op, (n, s) in zip(stage, sizes, strict=True)])
        channels = wide
    return made


def cost(architecture: str, channels: int, classes: int, resolution: int) -> Cost:
    """Layers, FLOPs and parameters: those of the published table at its sizes."""
    side = resolution
    costs = [convolution_bn(3, channels, 3, side**2)]
    layers = [layer for stage in layers_of(architecture, channels) for layer in stage]
    for layer in layers:
        costs.append(_layer_cost(layer, side))
        side = strided(side, layer.stride)
    costs.append(convolution_bn(layers[-1].outputs, LAST_CHANNELS, 1, side**2))
    return total([*costs, linear(LAST_CHANNELS, classes)])


def _layer(operation: str, inputs: int, outputs: int, stride: int) -> Layer:
    if operation == "0":
        return Identity(inputs, outputs, stride)
    return MBConv(inputs, outputs, *EXPANSION_AND_KERNEL[operation], stride)


def _layer_cost(layer: Layer, side: int) -> Cost:
    if isinstance(layer, MBConv):
        return mbconv.cost(layer, side)
    if layer.stride == 1:
        return NOTHING
    return convolution_bn(layer.inputs, layer.outputs, 1, strided(side, layer.stride) ** 2)


def named_layers(stage_layers: Sequence[Layer]) -> list[Layer]:
    """Those of a stage that compute something."""
    return [one for one in stage_layers if isinstance(one, MBConv) or one.stride > 1]
