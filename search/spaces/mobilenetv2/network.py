"""The networks of the MobileNetV2 space as PyTorch modules.

Parameters are named after their place and role: ``blocks.0.0.conv.weight``,
``blocks.2.1.a.depthwise.bn.bias`` (block 2, its second sub-layer, the first half),
``blocks.2.0.b.shortcut.conv.weight``, ``head.fc.weight``. Their order is that of the published
implementation: block by block; in a half expansion, depthwise convolution, squeeze-and-excitation,
projection, and the shortcut last.

Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

from collections import OrderedDict

from torch import Tensor, nn

from vkdnw.search.spaces.mobilenetv2.halves import Half, halves, squeezed
from vkdnw.search.spaces.mobilenetv2.structure import Block, Convolutions, InvertedResiduals, parse
from vkdnw.search.spaces.shared.layers import convolution_bn, head

BATCH_NORM_EPS = 1e-3


def build(
    structure: str,
    classes: int = 1000,
    squeeze_excitation: bool = False,
    residual: bool = True,
) -> "MobileNetV2Network":
    """The network of a structure: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    ``squeeze_excitation`` adds it after the depthwise convolution of every inverted residual, as
    the authors do for training; without ``residual`` all shortcuts are left out, projections too.
    The weights are PyTorch's defaults, drawn from the global generator; the module is in train
    mode.

    Raises `ArchitectureError` for a bad structure and `ValueError` for a bad number of classes.
    """
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"classes must be a positive integer, got {classes!r}")
    return MobileNetV2Network(parse(structure), classes, squeeze_excitation, residual)


class MobileNetV2Network(nn.Module):
    """Blocks and head; see `build`."""

    static_graph = True

    def __init__(
        self, blocks: tuple[Block, ...], classes: int, squeeze_excitation: bool, residual: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                _residuals(block, squeeze_excitation, residual)
                if isinstance(block, InvertedResiduals)
                else _convolutions(block)
                for block in blocks
            )
        )
        self.head = head(blocks[-1].outputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(images))
        return logits


class InvertedResidual(nn.Module):
    """Half a sub-layer: ``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``.

    There is a ReLU after the addition: the bottleneck is not linear.
    """

    static_graph = True

    def __init__(self, half: Half, squeeze_excitation: bool, residual: bool) -> None:
        super().__init__()
        self.expand = _convolution(half.inputs, half.expanded, 1)
        self.depthwise = _convolution(
            half.expanded, half.expanded, half.kernel, half.stride, groups=half.expanded
        )
        self.excite = SqueezeExcitation(half.expanded) if squeeze_excitation else None
        self.project = convolution_bn(half.expanded, half.outputs, 1, eps=BATCH_NORM_EPS)
        self.shortcut = _shortcut(half) if residual else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        if self.excite is not None:
            y = self.excite(y)
        y = self.project(y)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        activated: Tensor = self.relu(y)
        return activated


class SqueezeExcitation(nn.Module):
    """Scale each channel by a factor in (0, 1) computed from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = squeezed(channels)
        self.gate = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                squeeze=nn.Conv2d(channels, middle, 1, bias=False),
                squeeze_bn=_bn(middle),
                relu=nn.ReLU(),
                excite=nn.Conv2d(middle, channels, 1, bias=False),
                excite_bn=_bn(channels),
                sigmoid=nn.Sigmoid(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.gate(x)
        return scaled


def features(model: nn.Module) -> tuple[str, ...]:
    """The ReLUs at the top level, in order: the outputs of sub-layers and of their halves."""
    if not isinstance(model, MobileNetV2Network):
        raise TypeError(f"expected a network of mobilenetv2.build, got {type(model).__name__}")
    inner = ("expand.relu", "depthwise.relu", "gate.relu")
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ReLU) and not name.endswith(inner)
    )


def _convolutions(block: Convolutions) -> nn.Sequential:
    first = _convolution(block.inputs, block.outputs, block.kernel, block.stride)
    more = (
        _convolution(block.outputs, block.outputs, block.kernel) for _ in range(block.sublayers - 1)
    )
    return nn.Sequential(first, *more)


def _residuals(block: InvertedResiduals, squeeze_excitation: bool, residual: bool) -> nn.Sequential:
    first, more, second = halves(block)
    return nn.Sequential(
        *(
            nn.Sequential(
                OrderedDict(
                    a=InvertedResidual(first if i == 0 else more, squeeze_excitation, residual),
                    b=InvertedResidual(second, squeeze_excitation, residual),
                )
            )
            for i in range(block.sublayers)
        )
    )


def _shortcut(half: Half) -> nn.Module:
    if not half.projected:
        return nn.Identity()
    # The convolution has a bias although BatchNorm takes it away again: a published network has.
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(half.inputs, half.outputs, 1, half.stride), bn=_bn(half.outputs))
    )


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return convolution_bn(inputs, outputs, kernel, stride, groups, nn.ReLU, BATCH_NORM_EPS)


def _bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
