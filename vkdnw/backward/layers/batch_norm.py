"""BatchNorm by the batch's own statistics, differentiated with the convolution in front of it."""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.convolution import ConvolutionCall
from vkdnw.backward.layers.eligibility import have_native_channels
from vkdnw.backward.layers.lazy_tensor import LazyTensor, SumLazyOp, Term, VersionedTensor
from vkdnw.backward.layers.tensor_notes import CHANNELS_LAST, made_by
from vkdnw.backward.layers.weight_gradient_switch import WeightGradients
from vkdnw.backward.tape_nodes import TapeLayer
from vkdnw.ops.backpropagate import Layer, Norm
from vkdnw.ops.batch_norm import (
    batch_norm_coefficients,
    batch_norm_factors,
    batch_norm_input_gradient,
    channel_moments,
)


def train_batch_norm(
    norm: nn.BatchNorm2d, weights: WeightGradients, lazy: bool
) -> Callable[[Tensor], Tensor]:
    """A BatchNorm's forward in train mode, whose result is computed now or stays lazy.

    Running statistics are not updated: the pass restores them in any case.
    """

    def forward(input: Tensor) -> Tensor:
        if not (norm.training and have_native_channels(input) and input.numel() > input.shape[1]):
            return nn.BatchNorm2d.forward(norm, input)
        call = made_by(input, ConvolutionCall)
        conv = None if call is None else call.layer.conv
        output: LazyTensor = _BatchNorm.apply(  # type: ignore[no-untyped-call]
            input if call is None else call.read,
            norm.weight,
            norm.bias,
            None if conv is None else conv.weight,
            None if conv is None else conv.bias,
            VersionedTensor.of(input),
            norm.eps,
            call,
            weights,
        )
        if not lazy:
            output.op.value()
        return output

    return forward


class _BatchNorm(torch.autograd.Function):
    """BatchNorm of its input; with a call of a convolution, of that convolution's output."""

    @staticmethod
    def forward(
        ctx: Any,
        read: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        conv_weight: Tensor | None,
        conv_bias: Tensor | None,
        reading: VersionedTensor,
        eps: float,
        call: ConvolutionCall | None,
        weights: WeightGradients,
    ) -> Tensor:
        weight = None if weight is None else weight.detach().contiguous()
        bias = None if bias is None else bias.detach().contiguous()
        moments = None if call is None else call.moments
        if moments is None:
            moments = channel_moments(reading.numbers())
        statistics, factors = batch_norm_factors(moments, eps, weight, bias)
        output: LazyTensor = LazyTensor.of(reading.tensor, SumLazyOp(Term(reading, factors)))
        ctx.reading, ctx.statistics, ctx.weight = reading, statistics, weight
        ctx.call, ctx.size, ctx.weights = call, read.shape, weights
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        seen = ctx.reading.numbers()
        coefficients, of_parameters = batch_norm_coefficients(
            gradient, seen, ctx.statistics, ctx.weight
        )
        of_output = batch_norm_input_gradient(gradient, seen, coefficients)
        of_input = _input_gradient(ctx, of_output) if ctx.needs_input_grad[0] else None
        if not ctx.weights.wanted:
            return of_input, *(None,) * 8
        of_conv = _convolution_gradients(ctx, of_output)
        return of_input, *_wanted_parameters(ctx, of_parameters), *of_conv, *(None,) * 4

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        def norm() -> Norm:
            seen = node.reading.numbers()
            weight = seen.new_ones(seen.shape[1]) if node.weight is None else node.weight
            return Norm(seen, node.statistics, weight)

        call: ConvolutionCall | None = node.call
        if call is None:
            return TapeLayer(Layer.IDENTITY, norm=norm)
        return call.layer.tape_layer(call.mask, norm)


def _input_gradient(ctx: Any, of_output: Tensor) -> Tensor:
    """Through the convolution in front, if there is one, from the gradient of its output."""
    call: ConvolutionCall | None = ctx.call
    return of_output if call is None else call.layer.input_gradient(of_output, ctx.size, call.mask)


def _wanted_parameters(ctx: Any, of_parameters: Tensor) -> list[Tensor | None]:
    """The gradients of weight and bias."""
    return [
        of_parameters[row].float() if ctx.needs_input_grad[1 + row] else None for row in range(2)
    ]


def _convolution_gradients(ctx: Any, of_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Those of the convolution in front."""
    call: ConvolutionCall | None = ctx.call
    if call is None or not ctx.needs_input_grad[3]:
        return None, None
    return call.weight_gradients(of_output)
