"""The 3x3 average pooling of NAS-Bench-201, with a native gradient.

Torch's gradient of it costs as much as several convolutions.
"""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.eligibility import are_native_images, have_native_channels
from vkdnw.backward.layers.lazy_tensor import LazyTensor, SumLazyOp, Term, VersionedTensor
from vkdnw.backward.layers.tensor_notes import CHANNELS_LAST
from vkdnw.backward.tape_nodes import TapeLayer
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.pooling import avg_pool3x3, avg_pool3x3_input_gradient

Pool = Callable[[Tensor], Tensor]


def eval_pooling(input: Tensor) -> Tensor:
    """The forward of that pooling in eval mode: torch's own, whose bits the logits have."""
    if not are_native_images(input):
        return _torch_pooling(input)
    pooled: Tensor = _AveragePooling.apply(input, _torch_pooling)  # type: ignore[no-untyped-call]
    return pooled


def train_pooling(lazy: bool) -> Pool:
    """The forward of that pooling in train mode, whose result is computed now or stays lazy."""

    def forward(input: Tensor) -> Tensor:
        if not are_native_images(input):
            return _torch_pooling(input)
        pool = _lazy if lazy and have_native_channels(input) else avg_pool3x3
        pooled: Tensor = _AveragePooling.apply(input, pool)  # type: ignore[no-untyped-call]
        return pooled

    return forward


def _torch_pooling(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _lazy(x: Tensor) -> Tensor:
    pooled: Tensor = LazyTensor.of(x, SumLazyOp(Term(VersionedTensor.of(x), pooled=True)))
    return pooled


class _AveragePooling(torch.autograd.Function):
    """3x3 average pooling of stride 1 that leaves the padding out of the count."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, pool: Pool) -> Tensor:
        return pool(input)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        return avg_pool3x3_input_gradient(gradient), None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        return TapeLayer(Layer.AVG_POOL3X3)
