"""Faster backward passes for layers of a train-mode pass: the library's native data gradients.

Where a layer, its input and the machine allow it (CPU, float32, channels_last; see
:mod:`vkdnw.convolution`), its ``forward`` is replaced for the length of a block by one with the
same output and the same gradient up to rounding. A convolution that reads what a ReLU has just
returned takes the ReLU's own input from the graph and applies its mask on the way back, unless the
value in between is a feature that is differentiated by itself (:func:`cut`). Second derivatives do
not exist inside the block.
"""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vkdnw.convolution import (
    CHANNEL_MULTIPLE,
    conv1x1_input_gradient,
    conv3x3_input_gradient,
    rectify,
    winograd_weights,
)
from vkdnw.per_sample.fusion import native_gradient, pools_natively
from vkdnw.pooling import avg_pool3x3_input_gradient

CHANNELS_LAST = torch.channels_last


@dataclass
class WeightGradients:
    """Whether backward passes compute gradients of weights; autograd would ask for all of them."""

    wanted: bool = False


@contextmanager
def native_layers(
    model: nn.Module, weights: WeightGradients, on_relu: Callable[[Tensor], None]
) -> Iterator[None]:
    """Replaces the forward of every layer that has a native gradient.

    ``on_relu`` is told the output of every ReLU that is replaced.
    """
    replaced: list[nn.Module] = []
    try:
        for module in model.modules():
            forward = _replacement(module, weights, on_relu)
            if forward is not None:
                module.__dict__["forward"] = forward
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            module.__dict__.pop("forward", None)


def cut(value: Tensor) -> None:
    """Makes later readers of a ReLU's output read the output itself, not through its input."""
    value.__dict__.pop("_vkdnw_source", None)


def _replacement(
    module: nn.Module, weights: WeightGradients, on_relu: Callable[[Tensor], None]
) -> Callable[[Tensor], Tensor] | None:
    if "forward" in vars(module):  # nothing that the caller put there is replaced
        return None
    if type(module) is nn.ReLU and not module.inplace:
        return _relu(on_relu)
    if type(module) is nn.AvgPool2d and _is_cell_pooling(module):
        return _pooling
    if type(module) is nn.Conv2d and "weight" in module._parameters:
        return _convolution(module, weights)
    return None


# ---- ReLU ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """What a ReLU read, hung on what it returned."""

    input: Tensor
    mask: Tensor
    versions: tuple[int, int]  # of input and output; another number means it was overwritten


def _relu(on_relu: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
    def forward(input: Tensor) -> Tensor:
        if not _suits(input):
            return F.relu(input)  # the observer of torch's own operators sees this one
        output = _rectified(input)
        on_relu(output)
        return output

    return forward


def _suits(x: Tensor) -> bool:
    return pools_natively(x) and x.shape[1] % CHANNEL_MULTIPLE == 0


def _rectified(input: Tensor) -> Tensor:
    output, mask = _Rectification.apply(input)  # type: ignore[no-untyped-call]
    output._vkdnw_source = _Source(input, mask, (input._version, output._version))
    return output  # type: ignore[no-any-return]


def _source_of(output: Tensor) -> _Source | None:
    """The ReLU that returned this, if neither side has been written to since."""
    source: _Source | None = getattr(output, "_vkdnw_source", None)
    if source is None or source.versions != (source.input._version, output._version):
        return None
    return source


class _Rectification(torch.autograd.Function):
    """ReLU and its mask; its backward runs where something else than a convolution reads it."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> tuple[Tensor, Tensor]:
        output, mask = rectify(input)
        ctx.save_for_backward(output)
        ctx.mark_non_differentiable(mask)
        return output, mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.threshold_backward(gradients[0], output, 0)
        return passed


# ---- convolution -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """A convolution, its native data gradient, and whether weights are differentiated."""

    conv: nn.Conv2d
    forward: Callable[[Tensor], Tensor]
    input_gradient: Callable[[Tensor, Tensor | None], Tensor]
    weights: WeightGradients


def _convolution(conv: nn.Conv2d, weights: WeightGradients) -> Callable[[Tensor], Tensor]:
    layer: list[_Layer] = []  # made on the first call: the weights may be drawn until then

    def forward(input: Tensor) -> Tensor:
        kind = native_gradient(conv, input, CHANNELS_LAST) if _suits(input) else None
        if kind is None:
            plain: Tensor = conv._conv_forward(input, conv.weight, conv.bias)
            return plain
        if not layer:
            layer.append(_Layer(conv, _forward(conv, kind), _input_gradient(conv, kind), weights))
        source = _source_of(input)
        read, mask = (input, None) if source is None else (source.input, source.mask)
        output: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            read, conv.weight, conv.bias, input.detach(), mask, layer[0]
        )
        return output

    return forward


def _forward(conv: nn.Conv2d, kind: str) -> Callable[[Tensor], Tensor]:
    """A 3x3 convolution is the data gradient of the one with its weights turned round."""
    weight, bias = conv.weight.detach(), conv.bias
    if kind != "winograd" or bias is not None:
        return lambda seen: conv._conv_forward(seen, weight, bias)
    transformed = winograd_weights(weight.flip(2, 3).transpose(0, 1))
    return lambda seen: conv3x3_input_gradient(seen, transformed)


def _input_gradient(conv: nn.Conv2d, kind: str) -> Callable[[Tensor, Tensor | None], Tensor]:
    weight = conv.weight.detach()
    if kind == "winograd":
        transformed = winograd_weights(weight)
        return lambda gradient, mask: conv3x3_input_gradient(gradient, transformed, mask)
    return lambda gradient, mask: conv1x1_input_gradient(gradient, weight, mask)


class _Convolution(torch.autograd.Function):
    """Convolution of what it has ``seen``; a mask differentiates the ReLU in front with it."""

    @staticmethod
    def forward(
        ctx: Any,
        read: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        seen: Tensor,
        mask: Tensor | None,
        layer: _Layer,
    ) -> Tensor:
        ctx.mask, ctx.layer = mask, layer
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(seen, weight)
        return layer.forward(seen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        of_input = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_input = ctx.layer.input_gradient(gradient, ctx.mask)
        if ctx.layer.weights.wanted and ctx.needs_input_grad[1]:
            seen, weight = ctx.saved_tensors
            of_weight, of_bias = _weight_gradients(ctx.layer.conv, gradient, seen, weight)
        return of_input, of_weight, of_bias, None, None, None


def _weight_gradients(
    conv: nn.Conv2d, gradient: Tensor, seen: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor | None]:
    padding = [side // 2 for side in conv.kernel_size]  # "same", the only one that is native
    _, of_weight, of_bias = torch.ops.aten.convolution_backward(
        gradient, seen, weight, list(conv.bias.shape) if conv.bias is not None else None,
        [1, 1], padding, [1, 1], False, [0, 0], 1, [False, True, conv.bias is not None],
    )  # fmt: skip
    return of_weight, of_bias


# ---- pooling ---------------------------------------------------------------------------------


def _is_cell_pooling(pool: nn.AvgPool2d) -> bool:
    """Whether this is the 3x3 average pooling of NAS-Bench-201."""
    sizes = [
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (pool.kernel_size, pool.stride, pool.padding)
    ]
    return sizes == [(3, 3), (1, 1), (1, 1)] and not (
        pool.count_include_pad or pool.ceil_mode or pool.divisor_override
    )


def _pooling(input: Tensor) -> Tensor:
    if pools_natively(input):
        pooled: Tensor = _AveragePooling.apply(input)  # type: ignore[no-untyped-call]
        return pooled
    return F.avg_pool2d(input, 3, 1, 1, count_include_pad=False)


class _AveragePooling(torch.autograd.Function):
    """3x3 average pooling of stride 1 that leaves the padding out of the count.

    Pooling divides the sums of neighbours by their counts, and its gradient sums what is divided by
    counts: with counts multiplied in front and divided behind, one is the other.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        counts = _neighbours(*input.shape[2:])
        return avg_pool3x3_input_gradient(input * counts).div_(counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return avg_pool3x3_input_gradient(gradients[0].contiguous(memory_format=CHANNELS_LAST))


@lru_cache(maxsize=16)
def _neighbours(height: int, width: int) -> Tensor:
    """``[H, W]``: how many pixels lie in the 3x3 window of each, itself included."""
    ones = torch.ones(1, 1, height, width)
    return F.avg_pool2d(ones, 3, 1, 1, divisor_override=1)[0, 0]
