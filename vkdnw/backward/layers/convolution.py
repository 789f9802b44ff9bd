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
from vkdnw.backward.layers.eligibility import data_gradient, have_native_channels
from vkdnw.backward.layers.lazy_tensor import VersionedTensor, rectified_from
from vkdnw.backward.layers.relu import Rectified
from vkdnw.backward.layers.tensor_notes import CHANNELS_LAST, made_by, note
from vkdnw.backward.layers.weight_gradient_switch import WeightGradients
from vkdnw.backward.tape_nodes import TapeLayer
from vkdnw.ops.backpropagate import Layer, Norm
from vkdnw.ops.convolution import (
    conv1x1,
    conv3x3,
    conv_input_gradient,
    packed_weight,
    winograd_forward_weights,
)

Forward = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""From the input to the output and, for a native convolution, its channels' moments."""


@dataclass(frozen=True)
class NativeConvolution:
    """A convolution whose data gradient is native."""

    conv: nn.Conv2d
    layer: Layer  # that computes the data gradient
    weight: Tensor  # the convolution's own, or scaled by a BatchNorm that is folded into it
    forward: Forward

    @cached_property
    def packed(self) -> Tensor:
        """The weight as the data gradient takes it."""
        return packed_weight(self.layer, self.weight)

    @property
    def padding(self) -> int:
        """Zeros on each side of the input."""
        return int(self.conv._reversed_padding_repeated_twice[0])

    def tape_layer(self, mask: Tensor | None, norm: Callable[[], Norm] | None) -> TapeLayer:
        """The same as a layer of a tape."""
        return TapeLayer(
            self.layer,
            lambda: self.packed,
            None if mask is None else lambda: mask,
            self.conv.stride[0],
            self.padding,
            norm,
        )

    def input_gradient(self, gradient: Tensor, size: torch.Size, mask: Tensor | None) -> Tensor:
        """Gradient of an input of the size ``[B, Ci, H, W]``."""
        stride = self.conv.stride[0]
        return conv_input_gradient(
            self.layer, gradient, self.packed, mask, size[2:], stride, self.padding
        )

    def weight_gradients(self, gradient: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients of weight and bias, by torch, from the convolution's input."""
        conv = self.conv
        sizes = None if conv.bias is None else list(conv.bias.shape)
        padding = [self.padding, self.padding]
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient, seen, self.weight, sizes, conv.stride, padding, [1, 1], False, [0, 0], 1,
            [False, True, conv.bias is not None],
        )  # fmt: skip
        return of_weight, of_bias


@dataclass
class ConvolutionCall:
    """One call of a native convolution."""

    layer: NativeConvolution
    mask: Tensor | None  # of a ReLU that is differentiated with the convolution
    read: Tensor | None = None  # its input in the graph: that ReLU's own input
    reading: VersionedTensor | None = None  # its input, where it is needed again
    moments: Tensor | None = None  # of the output's channels, once it has run
    sink: Callable[[Tensor], None] | None = None  # is called with the output gradient

    def weight_gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients of weight and bias. Raises OverwrittenError."""
        assert self.reading is not None
        return self.layer.weight_gradients(gradient, self.reading.numbers())


# ---- eval mode: BatchNorm folded ---------------------------------------------------------------


def folded_convolution(
    conv: nn.Conv2d,
    layer: Layer,
    weight: Tensor,
    bias: Tensor | None,
    sink: Callable[[Tensor], None],
) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """The forward of a convolution with given weights, such as those of a folded BatchNorm.

    It takes the tensor that is its input in the graph, the values that it convolves, and the mask
    of a ReLU between the two.

    Args:
        sink: is called with the output gradient in every backward pass.
    """

    def torchs(x: Tensor) -> tuple[Tensor, None]:
        return conv._conv_forward(x, weight, bias), None

    native = NativeConvolution(conv, layer, weight, torchs)
    _ = native.packed  # before threads ask for it
    anchor = torch.zeros((), requires_grad=True, device="cpu")  # gives the output a gradient edge
    no_gradients = WeightGradients()

    def forward(read: Tensor, seen: Tensor, mask: Tensor | None) -> Tensor:
        call = ConvolutionCall(native, mask, sink=sink)
        output: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            read, anchor, None, [seen], call, no_gradients
        )
        return output

    return forward


# ---- train mode: BatchNorm by the batch's statistics -------------------------------------------


def train_convolution(conv: nn.Conv2d, weights: WeightGradients) -> Callable[[Tensor], Tensor]:
    """A convolution's forward in train mode."""
    layer: list[NativeConvolution] = []  # made on the first call: weights may be drawn until then

    def forward(input: Tensor) -> Tensor:
        kind = data_gradient(conv, input, CHANNELS_LAST) if have_native_channels(input) else None
        if kind is None:
            plain: Tensor = conv._conv_forward(input, conv.weight, conv.bias)
            return plain
        if not layer:
            weight = conv.weight.detach()
            layer.append(NativeConvolution(conv, kind, weight, _forward(conv, kind, weight)))
        relu = made_by(input, Rectified)
        read, mask = (input, None) if relu is None else (relu.input, relu.mask)
        call = ConvolutionCall(layer[0], mask, read, VersionedTensor.of(input))
        output: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            read, conv.weight, conv.bias, [input], call, weights
        )
        note(output, read, call)
        return output

    return forward


def _forward(conv: nn.Conv2d, layer: Layer, weight: Tensor) -> Forward:
    if layer == Layer.STRIDED_CONV or conv.bias is not None:
        return lambda x: (conv._conv_forward(x.detach(), weight, conv.bias), None)
    native, native_weight = (
        (conv1x1, weight) if layer == Layer.CONV1X1 else (conv3x3, winograd_forward_weights(weight))
    )

    def forward(input: Tensor) -> tuple[Tensor, Tensor | None]:
        rectified = rectified_from(input)
        if rectified is None:
            return native(input.detach(), native_weight)
        return native(rectified, native_weight, rectify=True)

    return forward


class _Convolution(torch.autograd.Function):
    """Convolution of ``seen``; with a mask, the ReLU in front is differentiated with it."""

    @staticmethod
    def forward(
        ctx: Any,
        read: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        seen: list[Tensor],  # a list, so that the graph does not lead to the tensor in it
        call: ConvolutionCall,
        weights: WeightGradients,
    ) -> Tensor:
        ctx.call, ctx.size, ctx.weights = call, read.shape, weights
        output, call.moments = call.layer.forward(seen[0])
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0]
        of_input = of_weight = of_bias = None
        call: ConvolutionCall = ctx.call
        if call.sink is not None:
            call.sink(gradient)
        if ctx.needs_input_grad[0]:
            gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
            of_input = call.layer.input_gradient(gradient, ctx.size, call.mask)
        if ctx.weights.wanted and ctx.needs_input_grad[1]:
            gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
            of_weight, of_bias = call.weight_gradients(gradient)
        return of_input, of_weight, of_bias, None, None, None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        call: ConvolutionCall = node.call
        return call.layer.tape_layer(call.mask, None)
