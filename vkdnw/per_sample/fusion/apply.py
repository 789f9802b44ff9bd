"""Computes fused layers together, by replacing their ``forward`` for the length of a call.

3x3 average pooling is replaced as well, where the native gradient covers it: torch's costs as much
as several convolutions.
"""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw.backward.graph import Node
from vkdnw.backward.tape_layers import TapeLayer
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.convolution import conv_input_gradient, packed_weight
from vkdnw.ops.pooling import avg_pool3x3_input_gradient
from vkdnw.ops.relu import rectify
from vkdnw.per_sample.capture import GradientSink, PathChanged, Recorder
from vkdnw.per_sample.fusion.find import LAYERS, Fusion, pools_natively
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.runtime.host_copies import on_host

Forward = Callable[[Tensor], Tensor]


@contextmanager
def fused(trace: Trace, fusions: tuple[Fusion, ...], recorder: Recorder) -> Iterator[None]:
    """Inside the block, the convolution of each fusion does the work of its neighbours."""
    patched: list[nn.Module] = []

    def patch(name: str, forward: Forward) -> None:
        module = trace.module(name)
        module.__dict__["forward"] = forward
        patched.append(module)

    try:
        for name in trace.pools:
            patch(name, _pooling())
        for fusion in fusions:
            passed = threading.local()
            if fusion.relu is not None:
                patch(fusion.relu, _passing(passed))
            patch(fusion.conv, _convolution(trace, fusion, passed, recorder))
            if fusion.norm is not None:
                patch(fusion.norm.name, _identity)
        yield
    finally:
        for module in patched:
            module.__dict__.pop("forward", None)


def _identity(input: Tensor) -> Tensor:
    return input


def _passing(passed: threading.local) -> Forward:
    """The ReLU's forward: the convolution behind it takes the ReLU's own input from the graph.

    What is returned is rectified all the same: a reader may look at it outside the graph.
    """

    def forward(input: Tensor) -> Tensor:
        output, mask = _rectified(input)
        passed.tensors = input, output, mask
        return output

    return forward


@dataclass(frozen=True)
class _Weights:
    """A fused convolution's constants."""

    conv: nn.Conv2d
    weight: Tensor  # scaled by the folded BatchNorm
    bias: Tensor | None
    layer: Layer | None  # that computes the data gradient natively
    native: Tensor | None  # the weight as that layer needs it

    @property
    def padding(self) -> int:
        """Zeros on each side of the input."""
        return int(self.conv._reversed_padding_repeated_twice[0])

    def input_gradient(self, gradient: Tensor, size: torch.Size, mask: Tensor | None) -> Tensor:
        """Gradient of an input of the size ``[b, Ci, H, W]``."""
        assert self.layer is not None
        assert self.native is not None
        stride = self.conv.stride[0]
        return conv_input_gradient(
            self.layer, gradient, self.native, mask, size[2:], stride, self.padding
        )


def _scaled_weights(trace: Trace, fusion: Fusion) -> _Weights:
    conv = trace.module(fusion.conv)
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight.detach()
    bias = None if conv.bias is None else conv.bias.detach()
    if fusion.norm is not None:
        scale, shift = fusion.norm.scale, fusion.norm.shift
        if bias is not None:
            shift = shift + on_host(bias).double() * scale
        finer = torch.promote_types(weight.dtype, torch.float32)  # half precision: rounded once
        factor = scale.to(weight.device, finer, non_blocking=True).view(-1, 1, 1, 1)
        bias = shift.to(weight, non_blocking=True)
        weight = (weight * factor).to(weight.dtype)
    assert trace.layout is not None  # nothing is fused where images stay as they were passed
    weight = weight.contiguous(memory_format=trace.layout)
    layer = None if fusion.gradient is None else LAYERS[fusion.gradient]
    return _Weights(
        conv, weight, bias, layer, None if layer is None else packed_weight(layer, weight)
    )


def _convolution(
    trace: Trace, fusion: Fusion, passed: threading.local, recorder: Recorder
) -> Forward:
    weights = _scaled_weights(trace, fusion)
    conv = weights.conv
    anchor = torch.zeros((), requires_grad=True, device="cpu")  # gives the output a gradient edge

    def plain(input: Tensor) -> Tensor:
        output: Tensor = conv._conv_forward(input, weights.weight, weights.bias)
        return output

    def sink(gradient: Tensor) -> None:
        recorder.sink(fusion.conv, gradient)

    def native(input: Tensor) -> Tensor:
        source, mask = input, None
        if fusion.relu is not None:
            source, rectified, mask = vars(passed).pop("tensors", (None, None, None))
            if rectified is not input:
                raise PathChanged(f"{fusion.conv} read something else than {fusion.relu} returned")
        seen = input.detach()
        recorder.substitute_input(fusion.conv, seen)
        output: Tensor = NativeConvolution.apply(  # type: ignore[no-untyped-call]
            source, anchor, seen, weights, mask, sink
        )
        return output

    if fusion.gradient is not None:
        return native
    weights.weight.requires_grad_(True)
    return plain


def _rectified(x: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU of a tensor and its mask, kept with it: parallel branches of a cell rectify the same."""
    kept: tuple[int, tuple[Tensor, Tensor]] | None = getattr(x, "_vkdnw_rectified", None)
    if kept is None or kept[0] != x._version:
        kept = x._version, _Rectification.apply(x)  # type: ignore[no-untyped-call]
        x._vkdnw_rectified = kept  # type: ignore[attr-defined]
    return kept[1]


class _Rectification(torch.autograd.Function):
    """ReLU and its mask; in the graph only where something else than a fused layer reads it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        output, mask = rectify(x.contiguous(memory_format=torch.channels_last))
        ctx.save_for_backward(output)
        ctx.mark_non_differentiable(mask)
        return output, mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        passed: Tensor = gradients[0] * (output > 0)
        return passed


class NativeConvolution(torch.autograd.Function):
    """(ReLU and) convolution of what it has ``seen``, with the native gradient of both."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        anchor: Tensor,
        seen: Tensor,
        weights: _Weights,
        mask: Tensor | None,
        sink: GradientSink,
    ) -> Tensor:
        ctx.weights, ctx.mask, ctx.sink, ctx.size = weights, mask, sink, seen.shape
        output: Tensor = weights.conv._conv_forward(seen, weights.weight, weights.bias)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        gradient = gradients[0]
        ctx.sink(gradient)
        if not ctx.needs_input_grad[0]:
            return (None,) * 6
        if not gradient.is_contiguous(memory_format=torch.channels_last):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        flowing = ctx.weights.input_gradient(gradient, ctx.size, ctx.mask)
        return flowing, None, None, None, None, None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        weights, mask = node.weights, node.mask
        return TapeLayer(
            weights.layer,
            lambda: weights.native,
            None if mask is None else lambda: mask,
            weights.conv.stride[0],
            weights.padding,
        )


def _pooling() -> Forward:
    def forward(input: Tensor) -> Tensor:
        if pools_natively(input):
            pooled: Tensor = AveragePooling.apply(input)  # type: ignore[no-untyped-call]
            return pooled
        return F.avg_pool2d(input, 3, 1, 1, count_include_pad=False)

    return forward


class AveragePooling(torch.autograd.Function):
    """3x3 average pooling of stride 1 that leaves the padding out of the count."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, 3, 1, 1, count_include_pad=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return avg_pool3x3_input_gradient(gradient)

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        return TapeLayer(Layer.AVG_POOL3X3)
