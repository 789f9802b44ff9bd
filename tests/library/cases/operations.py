"""Modules that call a layer's operation in a ``forward`` of their own, as timm's do."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import Case, forward, images, layer_case, normal
from tests.library.cases.networks import residual_network


class BatchNormAct(nn.BatchNorm2d):
    """BatchNorm, dropout and an activation in place (timm's BatchNormAct2d)."""

    def __init__(self, channels: int, act: nn.Module | None = None) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), act or nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        normalised = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )
        result: Tensor = self.act(self.drop(normalised))
        return result


class SameConv(nn.Conv2d):
    """A convolution that pads by the input's size first (timm's Conv2dSame)."""

    def forward(self, x: Tensor) -> Tensor:
        missing = [
            max(0, (-(-size // step) - 1) * step + kernel - size)
            for size, step, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        ]
        rows, columns = missing
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class StandardisedConv(nn.Conv2d):
    """A convolution with standardised weights (timm's ScaledStdConv2d): only its bias is used."""

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0
        ).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class ImageLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of images (timm's LayerNorm2d)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def network_of_operations() -> nn.Module:
    """A residual network whose BatchNorms apply the activation."""
    model = residual_network()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, BatchNormAct(child.num_features, nn.SiLU(inplace=True)))
    return model


def bare(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(F.conv2d(x, m.kernel, m.offset, stride=2)).flatten(1))


def bare_parts() -> dict[str, Any]:
    return {
        "kernel": nn.Parameter(torch.randn(4, 3, 3, 3)),
        "offset": nn.Parameter(torch.randn(4)),
        "fc": nn.Linear(4 * 3 * 3, 3),
    }


def one_kernel(second: dict[str, Any]) -> Any:
    """The same weight in two convolutions."""

    def run(m: Any, x: Tensor) -> Tensor:
        first = torch.tanh(F.conv2d(x, m.kernel, padding=1))
        return m.fc(torch.tanh(F.conv2d(first, m.kernel, **second)).mean((2, 3)))

    return run


def square_parts() -> dict[str, Any]:
    return {"kernel": nn.Parameter(torch.randn(3, 3, 3, 3)), "fc": nn.Linear(3, 3)}


def kernel_and_value(m: Any, x: Tensor) -> Tensor:
    hidden = torch.tanh(F.conv2d(x, m.kernel, padding=1)).mean((2, 3))
    return m.fc(hidden) * m.kernel.square().mean()


def filtered_weights(m: Any, x: Tensor) -> Tensor:
    """A weight that is itself convolved, with itself."""
    sharpened = F.conv2d(m.kernel, m.kernel, padding=1)
    return m.fc(torch.tanh(F.conv2d(x, sharpened)).mean((2, 3)))


def mixing_norm(m: Any, x: Tensor) -> Tensor:
    """BatchNorm of one image's patches, by statistics of their own: no running ones."""
    patches = x.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2)).flatten(2)  # [b, 3, 4]
    normalised = [F.batch_norm(p[None], None, None, m.scale, m.shift, True) for p in patches]
    return m.fc(torch.cat(normalised).flatten(1))


def mixing_parts() -> dict[str, Any]:
    return {
        "scale": nn.Parameter(torch.ones(3)),
        "shift": nn.Parameter(torch.zeros(3)),
        "fc": nn.Linear(12, 3),
    }


OPERATIONS = [
    layer_case("batch norm with activation", lambda: BatchNormAct(3), (3, 6, 6)),
    layer_case(
        "batch norm with activation, called twice",
        lambda: BatchNormAct(3, nn.SiLU()),
        (3, 6, 6),
        call=lambda layer, x: layer(layer(x)),
    ),
    Case("network of batch norms with activation", network_of_operations, images),
    layer_case("conv2d same by its own padding", lambda: SameConv(3, 4, 3, stride=2), (3, 7, 6)),
    layer_case(
        "depthwise conv2d same by its own padding",
        lambda: SameConv(4, 8, (3, 2), stride=(1, 2), groups=4, bias=False),
        (4, 7, 6),
    ),
    layer_case(
        "conv2d with standardised weights",
        lambda: StandardisedConv(3, 4, 3, padding=1),
        (3, 6, 6),
        fallback=("weight",),
    ),
    layer_case("layer norm of images", lambda: ImageLayerNorm(3), (3, 5, 4)),
    layer_case(
        "layer norm without bias",
        lambda: nn.Sequential(ImageLayerNorm(3, bias=False), nn.Tanh(), SameConv(3, 2, 1)),
        (3, 5, 4),
    ),
    forward("convolution of bare parameters", bare, normal(5, 3, 8, 8), bare_parts),
    forward(
        "one kernel in two equal convolutions",
        one_kernel({"padding": 1}),
        normal(5, 3, 6, 6),
        square_parts,
    ),
    forward(
        "one kernel in two unlike convolutions",
        one_kernel({"stride": 2}),
        normal(5, 3, 6, 6),
        square_parts,
        fallback=("kernel",),
    ),
    forward(
        "a kernel that is a value as well",
        kernel_and_value,
        normal(5, 3, 6, 6),
        square_parts,
        fallback=("kernel",),
    ),
    forward(
        "a kernel convolved with itself",
        filtered_weights,
        normal(5, 3, 6, 6),
        square_parts,
        fallback=("kernel",),
    ),
    forward(
        "batch norm by a sample's own statistics",
        mixing_norm,
        normal(5, 3, 8, 8),
        mixing_parts,
        fallback=("scale", "shift"),
        reference="loop",
    ),
]
