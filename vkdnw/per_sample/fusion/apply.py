"""Computes fused layers together, by replacing their ``forward`` for the length of a call.

3x3 average pooling is replaced as well, where the native gradient covers it.
"""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from vkdnw.backward.layers import replaced_forwards
from vkdnw.backward.layers.convolution import folded_convolution
from vkdnw.backward.layers.pooling import eval_pooling
from vkdnw.backward.layers.relu import rectified
from vkdnw.backward.layers.replacement import Forward
from vkdnw.per_sample.capture import PathChanged, Recorder
from vkdnw.per_sample.fusion.find import Fusion
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.runtime.host_copies import on_host


def fused(
    trace: Trace, fusions: tuple[Fusion, ...], recorder: Recorder
) -> AbstractContextManager[None]:
    """Inside the block, the convolution of each fusion also computes its neighbours."""
    named = _forwards(trace, fusions, recorder)
    return replaced_forwards((trace.module(name), forward) for name, forward in named)


def _forwards(
    trace: Trace, fusions: tuple[Fusion, ...], recorder: Recorder
) -> Iterator[tuple[str, Forward]]:
    for name in trace.pools:
        yield name, eval_pooling
    for fusion in fusions:
        passed = threading.local()
        if fusion.relu is not None:
            yield fusion.relu, _passing(passed)
        yield fusion.conv, _convolution(trace, fusion, passed, recorder)
        if fusion.norm is not None:
            yield fusion.norm.name, _identity


def _identity(input: Tensor) -> Tensor:
    return input


def _passing(passed: threading.local) -> Forward:
    """The ReLU's forward: the convolution behind it takes the ReLU's own input from the graph.

    The output is rectified in any case: other code may read it outside the graph.
    """

    def forward(input: Tensor) -> Tensor:
        output, mask = rectified(input)
        passed.tensors = input, output, mask
        return output

    return forward


def folded_weights(trace: Trace, fusion: Fusion, conv: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution that computes the BatchNorm behind it too."""
    weight = conv.weight.detach()
    bias = None if conv.bias is None else conv.bias.detach()
    if fusion.norm is not None:
        scale, shift = fusion.norm.scale, fusion.norm.shift
        finer = torch.promote_types(weight.dtype, torch.float32)  # half precision: rounded once
        factor, offset = fusion.norm.factor, fusion.norm.offset
        if factor.dtype != finer:
            factor = scale.to(weight.device, finer, non_blocking=True)
        if bias is not None or offset.dtype != weight.dtype:
            shift = shift if bias is None else shift + on_host(bias).double() * scale
            offset = shift.to(weight, non_blocking=True)
        bias = offset
        weight = (weight * factor.view(-1, 1, 1, 1)).to(weight.dtype)
    assert trace.layout is not None  # nothing is fused where images stay as they were passed
    return weight.contiguous(memory_format=trace.layout), bias


def _convolution(
    trace: Trace, fusion: Fusion, passed: threading.local, recorder: Recorder
) -> Forward:
    conv = trace.module(fusion.conv)
    assert isinstance(conv, nn.Conv2d)
    weight, bias = folded_weights(trace, fusion, conv)
    if fusion.gradient is None:
        weight.requires_grad_(True)
        return partial(conv._conv_forward, weight=weight, bias=bias)

    def sink(gradient: Tensor) -> None:
        recorder.sink(fusion.conv, gradient)

    native = folded_convolution(conv, fusion.gradient, weight, bias, sink)

    def forward(input: Tensor) -> Tensor:
        source, mask = input, None
        if fusion.relu is not None:
            source, output, mask = vars(passed).pop("tensors", (None, None, None))
            if output is not input:
                raise PathChanged(f"{fusion.conv} read something else than {fusion.relu} returned")
        seen = input.detach()
        recorder.substitute_input(fusion.conv, seen)
        return native(source, seen, mask)

    return forward
