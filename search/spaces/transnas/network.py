"""The networks of TransNAS-Bench-101 as PyTorch modules: an encoder and a classifier.

Parameters are named after their place and role: ``encoder.stem.conv_a.weight``,
``encoder.module0.1.edge.3<-1.conv.weight``, ``encoder.module2.0.shortcut.bn.bias``,
``head.fc.weight``. Their order is that of the published implementation.
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from vkdnw.search.spaces.shared.counting import IMAGE_CHANNELS
from vkdnw.search.spaces.shared.edge_cell import EdgeCell, kept_empty_edges
from vkdnw.search.spaces.shared.layers import (
    FactorisedReduction,
    Zeros,
    convolution,
    head,
    relu_conv_bn,
)
from vkdnw.search.spaces.shared.sizes import check_choice, check_sizes
from vkdnw.search.spaces.transnas.architecture import EDGES, KERNELS, NONE, SKIP, Architecture
from vkdnw.search.spaces.transnas.cost import TILES, steps

ShortcutNorm = Literal["benchmark", "usual"]
SHORTCUT_NORMS: tuple[ShortcutNorm, ...] = ("benchmark", "usual")


def build(
    architecture: Architecture,
    channels: int = 64,
    classes: int = 100,
    tiles: int = 1,
    shortcut_norm: ShortcutNorm = "benchmark",
) -> nn.Module:
    """The network: images ``[B, 3, H, W]`` to logits ``[B, classes]``.

    ``channels`` are those of the stem's output. With 9 ``tiles`` the encoder reads those of 3 rows
    and 3 columns of the image one after the other, as in the jigsaw task, and the classifier reads
    all of their features; tiles may come apart as well, ``[B, 9, 3, H, W]``.

    The BatchNorm of a shortcut that changes the shape has an eps and a momentum of 1.0 in the
    benchmark: its code passes other arguments in their place. ``shortcut_norm="usual"`` has
    PyTorch's 1e-5 and 0.1, which are other networks.

    The weights are PyTorch's defaults, drawn from the global generator; the module is in train
    mode. Raises ValueError for a bad size.
    """
    check_sizes(channels=channels, classes=classes)
    check_choice("tiles", tiles, TILES)
    check_choice("shortcut_norm", shortcut_norm, SHORTCUT_NORMS)
    return TransNASNetwork(architecture, channels, classes, tiles, shortcut_norm)


class TransNASNetwork(nn.Module):
    """Encoder and head; see `build`."""

    static_graph = True

    def __init__(
        self,
        architecture: Architecture,
        channels: int,
        classes: int,
        tiles: int,
        shortcut_norm: ShortcutNorm,
    ) -> None:
        super().__init__()
        self._tiles = tiles
        self.encoder = nn.Sequential(OrderedDict(stem=_stem(channels)))
        for module, (inputs, outputs, stride) in enumerate(steps(architecture.modules, channels)):
            shapes = ((inputs, outputs, stride), (outputs, outputs, 1))
            blocks: list[nn.Module]
            if architecture.cell is None:
                blocks = [BasicBlock(*shape, shortcut_norm) for shape in shapes]
            else:
                blocks = [Cell(architecture.cell, *shape) for shape in shapes]
            self.encoder.add_module(f"module{module}", nn.Sequential(*blocks))
        self.head = head(tiles * outputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        if self._tiles == 1:
            features = self.encoder(images)
        else:
            tiles = images if images.dim() == 5 else _cut(images)
            features = torch.cat([self.encoder(tile) for tile in tiles.unbind(dim=1)], dim=1)
        logits: Tensor = self.head(features)
        return logits


class BasicBlock(nn.Module):
    """``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``; nothing follows the sum."""

    static_graph = True

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut_norm: ShortcutNorm) -> None:
        super().__init__()
        self.conv_a = relu_conv_bn(inputs, outputs, 3, stride)
        self.conv_b = relu_conv_bn(outputs, outputs, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            eps, momentum = (1.0, 1.0) if shortcut_norm == "benchmark" else (1e-5, 0.1)
            self.shortcut = nn.Sequential(
                OrderedDict(
                    conv=convolution(inputs, outputs, 1, stride),
                    bn=nn.BatchNorm2d(outputs, eps, momentum),
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_b(self.conv_a(x)) + self.shortcut(x)
        return y


class Cell(EdgeCell):
    """``[B, inputs, H, W]`` to ``[B, outputs, H/stride, W/stride]``, by the edges from node 0."""

    def __init__(self, operations: tuple[int, ...], inputs: int, outputs: int, stride: int) -> None:
        used = [edge for edge, code in zip(EDGES, operations, strict=True) if code != NONE]
        kept = {*used, *kept_empty_edges(used, output=3)}
        modules: OrderedDict[tuple[int, int], nn.Module] = OrderedDict()
        for (target, source), code in zip(EDGES, operations, strict=True):
            if (target, source) in kept:
                shape = (outputs, outputs, 1) if source else (inputs, outputs, stride)
                modules[target, source] = _operation(code, *shape)
        super().__init__(modules, output=3)


class FreshZeros(nn.Module):
    """Zeros of the shape that a convolution would give, not connected to the input."""

    def __init__(self, outputs: int, stride: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.every = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        zeros = torch.zeros_like(torch.narrow(self.every(x), 1, 0, 1))
        return zeros.expand(-1, self.outputs, -1, -1)


def _operation(operation: int, inputs: int, outputs: int, stride: int) -> nn.Module:
    if operation in KERNELS:
        return relu_conv_bn(inputs, outputs, KERNELS[operation], stride)
    same = inputs == outputs and stride == 1
    if operation == SKIP:
        return nn.Identity() if same else FactorisedReduction(inputs, outputs)
    return Zeros(stride) if inputs == outputs else FreshZeros(outputs, stride)


def _stem(channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        OrderedDict(
            conv_a=convolution(IMAGE_CHANNELS, half, 3, stride=2),
            bn_a=nn.BatchNorm2d(half),
            relu=nn.ReLU(),
            conv_b=convolution(half, channels, 3, stride=2),
            bn_b=nn.BatchNorm2d(channels),
        )
    )


def _cut(images: Tensor) -> Tensor:
    """``[B, 3, 3 H, 3 W]`` to the nine tiles ``[B, 9, 3, H, W]``, row by row."""
    if images.shape[-1] % 3 or images.shape[-2] % 3:
        raise ValueError(
            f"images are cut into 3 x 3 tiles, so their sides must be multiples of 3; got "
            f"{tuple(images.shape[-2:])}"
        )
    rows = images.chunk(3, dim=2)
    return torch.stack([tile for row in rows for tile in row.chunk(3, dim=3)], dim=1)
