"""The 3x3 average pooling of NAS-Bench-201."""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.lazy_tensor import LazyTensor, SumLazyOp, Term, VersionedTensor
from vkdnw.backward.layers.values import CHANNELS_LAST, suits
from vkdnw.backward.tape_layers import TapeLayer
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.pooling import avg_pool3x3, avg_pool3x3_input_gradient
from vkdnw.per_sample.fusion.find import pools_natively


def is_cell_pooling(pool: nn.AvgPool2d) -> bool:
    """Whether this is the 3x3 average pooling of NAS-Bench-201."""
    sizes = [
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (pool.kernel_size, pool.stride, pool.padding)
    ]
    return sizes == [(3, 3), (1, 1), (1, 1)] and not (
        pool.count_include_pad or pool.ceil_mode or pool.divisor_override
    )


def native_pooling(pending: bool) -> Callable[[Tensor], Tensor]:
    """The forward of that pooling, whose result is computed now or stays pending."""

    def forward(input: Tensor) -> Tensor:
        if not pools_natively(input):
            return F.avg_pool2d(input, 3, 1, 1, count_include_pad=False)
        wait = pending and suits(input)
        pooled: Tensor = _AveragePooling.apply(input, wait)  # type: ignore[no-untyped-call]
        return pooled

    return forward


class _AveragePooling(torch.autograd.Function):
    """3x3 average pooling of stride 1 that leaves the padding out of the count."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, pending: bool) -> Tensor:
        if not pending:
            return avg_pool3x3(input)
        pooled: Tensor = LazyTensor.of(
            input, SumLazyOp(Term(VersionedTensor.of(input), pooled=True))
        )
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        return avg_pool3x3_input_gradient(gradient), None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        return TapeLayer(Layer.AVG_POOL3X3)
