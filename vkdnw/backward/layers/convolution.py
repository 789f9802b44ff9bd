"""Convolutions with a native data gradient, that of a ReLU in front included."""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.lazy_tensor import VersionedTensor, rectified_from
from vkdnw.backward.layers.relu import Rectified
from vkdnw.backward.layers.values import CHANNELS_LAST, made_by, note, suits
from vkdnw.backward.layers.weight_gradients import WeightGradients
from vkdnw.backward.tape_layers import TapeLayer
from vkdnw.ops.backpropagate import Norm
from vkdnw.ops.convolution import (
    conv1x1,
    conv3x3,
    conv_input_gradient,
    packed_weight,
    winograd_forward_weights,
)
from vkdnw.per_sample.fusion.find import LAYERS, Gradient, native_gradient, strided_gradient

Forward = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""From the input as it came to the output and, of a native one, its channels' moments."""


@dataclass(frozen=True)
class NativeConvolution:
    """A convolution whose data gradient is native."""

    conv: nn.Conv2d
    kind: Gradient
    forward: Forward

    @cached_property
    def weight(self) -> Tensor:
        """The weight as the native gradient has it."""
        return packed_weight(LAYERS[self.kind], self.conv.weight.detach())

    @property
    def padding(self) -> int:
        """Zeros on each side of the input."""
        return int(self.conv._reversed_padding_repeated_twice[0])

    def tape_layer(self, mask: Tensor | None, norm: Callable[[], Norm] | None) -> TapeLayer:
        """The same as a layer of a tape."""
        return TapeLayer(
            LAYERS[self.kind],
            lambda: self.weight,
            None if mask is None else lambda: mask,
            self.conv.stride[0],
            self.padding,
            norm,
        )

    def input_gradient(self, gradient: Tensor, size: torch.Size, mask: Tensor | None) -> Tensor:
        """Gradient of an input of the size ``[B, Ci, H, W]``."""
        stride = self.conv.stride[0]
        return conv_input_gradient(
            LAYERS[self.kind], gradient, self.weight, mask, size[2:], stride, self.padding
        )

    def weight_gradients(self, gradient: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients of weight and bias, by torch, from what the convolution has seen."""
        conv = self.conv
        sizes = None if conv.bias is None else list(conv.bias.shape)
        weight, padding = conv.weight.detach(), [self.padding, self.padding]
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient, seen, weight, sizes, conv.stride, padding, [1, 1], False, [0, 0], 1,
            [False, True, conv.bias is not None],
        )  # fmt: skip
        return of_weight, of_bias


@dataclass
class Convolved:
    """One call of a native convolution."""

    layer: NativeConvolution
    read: Tensor  # what the graph says that it read: a ReLU's own input
    reading: VersionedTensor  # what it did read
    mask: Tensor | None  # of that ReLU
    moments: Tensor | None = None  # of the output's channels, once it has run


def native_convolution(conv: nn.Conv2d, weights: WeightGradients) -> Callable[[Tensor], Tensor]:
    """A convolution's forward."""
    layer: list[NativeConvolution] = []  # made on the first call: weights may be drawn until then

    def forward(input: Tensor) -> Tensor:
        kind = _kind(conv, input) if suits(input) else None
        if kind is None:
            plain: Tensor = conv._conv_forward(input, conv.weight, conv.bias)
            return plain
        if not layer:
            layer.append(NativeConvolution(conv, kind, _forward(conv, kind)))
        relu = made_by(input, Rectified)
        read, mask = (input, None) if relu is None else (relu.input, relu.mask)
        call = Convolved(layer[0], read, VersionedTensor.of(input), mask)
        output: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            read, conv.weight, conv.bias, call, weights
        )
        note(output, read, call)
        return output

    return forward


def _kind(conv: nn.Conv2d, input: Tensor) -> Gradient | None:
    return native_gradient(conv, input, CHANNELS_LAST) or strided_gradient(
        conv, input, CHANNELS_LAST
    )


def _forward(conv: nn.Conv2d, kind: Gradient) -> Forward:
    weight = conv.weight.detach()
    if kind == "strided" or conv.bias is not None:
        return lambda x: (conv._conv_forward(x.detach(), weight, conv.bias), None)
    native, native_weight = (
        (conv1x1, weight) if kind == "pointwise" else (conv3x3, winograd_forward_weights(weight))
    )

    def forward(input: Tensor) -> tuple[Tensor, Tensor | None]:
        rectified = rectified_from(input)
        if rectified is None:
            return native(input.detach(), native_weight)
        return native(rectified, native_weight, rectify=True)

    return forward


class _Convolution(torch.autograd.Function):
    """Convolution of what it has seen; a mask differentiates the ReLU in front with it."""

    @staticmethod
    def forward(
        ctx: Any,
        read: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        call: Convolved,
        weights: WeightGradients,
    ) -> Tensor:
        ctx.call, ctx.size, ctx.weights = call, read.shape, weights
        output, call.moments = call.layer.forward(call.reading.tensor)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        of_input = of_weight = of_bias = None
        call: Convolved = ctx.call
        if ctx.needs_input_grad[0]:
            of_input = call.layer.input_gradient(gradient, ctx.size, call.mask)
        if ctx.weights.wanted and ctx.needs_input_grad[1]:
            of_weight, of_bias = call.layer.weight_gradients(gradient, call.reading.numbers())
        return of_input, of_weight, of_bias, None, None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        call: Convolved = node.call
        return call.layer.tape_layer(call.mask, None)
