"""Layers that networks of several spaces are made of.

Convolutions have no bias and keep an image's sides, or divide them by their stride and round up.
Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A padded convolution without bias."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias=False
    )


def convolution_bn(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
    eps: float = 1e-5,
) -> nn.Sequential:
    """A padded convolution without bias, its BatchNorm, and an activation where one is given."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=convolution(inputs, outputs, kernel, stride, groups=groups),
        bn=nn.BatchNorm2d(outputs, eps=eps),
    )
    if activation is not None:
        layers["relu" if activation is nn.ReLU else "activation"] = activation()
    return nn.Sequential(layers)


def head(inputs: int, outputs: int) -> nn.Sequential:
    """Means over pixels, and a linear layer."""
    return nn.Sequential(
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(inputs, outputs)
        )
    )


def relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            relu=nn.ReLU(),
            conv=convolution(inputs, outputs, kernel, stride),
            bn=nn.BatchNorm2d(outputs),
        )
    )


class FactorisedReduction(nn.Module):
    """Half the sides by two 1x1 convolutions, the second of the image shifted by one pixel.

    ``[B, inputs, H, W]`` to ``[B, outputs, ceil(H/2), ceil(W/2)]``. Where a side is odd, the
    shifted image has a row or column of zeros at its end.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = convolution(inputs, outputs // 2, 1, stride=2)
        self.conv_shifted = convolution(inputs, outputs - outputs // 2, 1, stride=2)
        self.shift = nn.ConstantPad2d((-1, 1, -1, 1), 0.0)  # the first row and column go
        self.bn = nn.BatchNorm2d(outputs, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        halves = [self.conv(x), self.conv_shifted(self.shift(x))]
        reduced: Tensor = self.bn(torch.cat(halves, dim=1))
        return reduced


class Zeros(nn.Module):
    """Zeros of the input's shape, or of half its sides, connected to it with gradient zero."""

    static_graph = True

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.halved = None if stride == 1 else nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        kept: Tensor = x if self.halved is None else self.halved(x)
        return kept * 0.0
