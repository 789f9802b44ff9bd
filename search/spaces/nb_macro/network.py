"""The networks of NAS-Bench-Macro as PyTorch modules.

Parameters are named ``stem.conv.weight``, ``stages.1.0.residual.expand.conv.weight``,
``last.bn.bias``, ``head.fc.weight``, in the published order.
"""

from torch import Tensor, nn

from vkdnw.search.spaces.nb_macro.architecture import canonical
from vkdnw.search.spaces.nb_macro.layers import LAST_CHANNELS, Layer, layers_of, named_layers
from vkdnw.search.spaces.shared.layers import convolution_bn, head
from vkdnw.search.spaces.shared.mbconv import MBConv
from vkdnw.search.spaces.shared.mbconv_modules import MBConvModule


class MacroNetwork(nn.Module):
    """Images ``[B, 3, H, W]`` to logits ``[B, classes]``; train mode, PyTorch's default weights.

    Layers that compute nothing are left out. Equal networks therefore have equal names, and equal
    weights under one seed.
    """

    static_graph = True

    def __init__(self, architecture: str, channels: int, classes: int) -> None:
        super().__init__()
        stages = layers_of(canonical(architecture), channels)
        self.stem = convolution_bn(3, channels, 3, activation=nn.ReLU)
        self.stages = nn.Sequential(
            *(nn.Sequential(*map(_module, named_layers(layers))) for layers in stages)
        )
        self.last = convolution_bn(stages[-1][-1].outputs, LAST_CHANNELS, 1, activation=nn.ReLU)
        self.head = head(LAST_CHANNELS, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last(self.stages(self.stem(images))))
        return logits


def _module(layer: Layer) -> nn.Module:
    if isinstance(layer, MBConv):
        return MBConvModule(layer)
    return convolution_bn(layer.inputs, layer.outputs, 1, layer.stride)
