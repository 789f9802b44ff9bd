"""MBConv blocks as modules; see `mbconv` for the sizes.

Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from vkdnw.search.spaces.shared.layers import convolution_bn
from vkdnw.search.spaces.shared.mbconv import MBConv


@dataclass(frozen=True)
class Activations:
    """The activations of a network: after its convolutions, and of the factors of its channels."""

    hidden: type[nn.Module]
    gate: type[nn.Module]


RELU = Activations(nn.ReLU, nn.Hardsigmoid)
SILU = Activations(nn.SiLU, nn.Sigmoid)


class MBConvModule(nn.Module):
    """``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``, sides rounded up.

    No activation follows the projection or the sum.
    """

    static_graph = True

    def __init__(self, block: MBConv, activations: Activations = RELU) -> None:
        super().__init__()
        wide, hidden = block.expanded, activations.hidden
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        if block.expansion != 1:
            stages["expand"] = convolution_bn(block.inputs, wide, 1, activation=hidden)
        stages["depthwise"] = convolution_bn(
            wide, wide, block.kernel, block.stride, groups=wide, activation=hidden
        )
        if block.excited:
            stages["excite"] = SqueezeExcitation(wide, block.squeezed, activations)
        stages["project"] = convolution_bn(wide, block.outputs, 1)
        self.residual = nn.Sequential(stages)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.residual(x)
        return x + y if self.shortcut else y


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor in [0, 1] computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int, activations: Activations) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                squeeze=nn.Conv2d(channels, squeezed, 1),
                activation=activations.hidden(),
                excite=nn.Conv2d(squeezed, channels, 1),
                gate=activations.gate(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.gate(x)
        return scaled


def features(model: nn.Module) -> tuple[str, ...]:
    """The names of stem, every layer of every stage, and the last convolution."""
    stages = enumerate(model.get_submodule("stages").children())
    layers = (f"stages.{i}.{name}" for i, stage in stages for name, _ in stage.named_children())
    return ("stem", *layers, "last")
