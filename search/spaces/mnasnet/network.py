"""The networks of the MnasNet space as PyTorch modules.

Parameters are named ``stem.conv.weight``, ``stages.2.1.residual.excite.gate.squeeze.bias``,
``last.bn.weight``, ``head.fc.bias``, in the published order.
"""

from torch import Tensor, nn

from vkdnw.search.spaces.mnasnet.blocks import LAST_CHANNELS, STEM, WIDTHS, blocks_of
from vkdnw.search.spaces.shared.layers import convolution_bn, head
from vkdnw.search.spaces.shared.mbconv_modules import Activations, MBConvModule


class MnasNetwork(nn.Module):
    """Images ``[B, 3, H, W]`` to logits ``[B, classes]``; train mode, PyTorch's default weights.

    There is no dropout and no stochastic depth: their draws would become part of a score.
    """

    def __init__(self, architecture: str, classes: int, activations: Activations) -> None:
        super().__init__()
        hidden = activations.hidden
        self.stem = convolution_bn(3, STEM, 3, stride=2, activation=hidden)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(*(MBConvModule(block, activations) for block in stage))
                for stage in blocks_of(architecture)
            )
        )
        self.last = convolution_bn(WIDTHS[-1], LAST_CHANNELS, 1, activation=hidden)
        self.head = head(LAST_CHANNELS, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last(self.stages(self.stem(images))))
        return logits
