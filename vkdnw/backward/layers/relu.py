"""ReLU that keeps the mask of its gradient, one bit a number.

In eval mode the output is computed at once, with the mask. In train mode it may stay lazy, since
most of its readers are convolutions that compute it on the way.
"""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import _disable_current_modes

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.eligibility import have_native_channels
from vkdnw.backward.layers.lazy_tensor import LazyTensor, ReLULazyOp, SumLazyOp, VersionedTensor
from vkdnw.backward.layers.tensor_notes import note
from vkdnw.backward.tape_nodes import TapeLayer
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.relu import rectify, relu_mask


@dataclass(frozen=True)
class Rectified:
    """A ReLU's input, and the mask of its gradient."""

    input: Tensor
    mask: Tensor


# ---- eval mode ---------------------------------------------------------------------------------


def rectified(x: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU of a tensor and its mask, kept with the tensor: parallel branches of a cell share it."""
    kept: tuple[int, tuple[Tensor, Tensor]] | None = getattr(x, "_vkdnw_rectified", None)
    if kept is None or kept[0] != x._version:
        kept = x._version, _Rectification.apply(x)  # type: ignore[no-untyped-call]
        x._vkdnw_rectified = kept  # type: ignore[attr-defined]
    return kept[1]


class _Rectification(torch.autograd.Function):
    """ReLU and its mask. Its backward runs where another layer than a fused one reads it."""

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


# ---- train mode --------------------------------------------------------------------------------


def train_relu(on_relu: Callable[[Tensor], None], lazy: bool) -> Callable[[Tensor], Tensor]:
    """A ReLU's forward in train mode, whose output is computed now or stays lazy.

    Args:
        on_relu: is called with the output.
    """

    def forward(input: Tensor) -> Tensor:
        if not have_native_channels(input):
            return F.relu(input)  # the observer of torch's own operators sees this one
        mask = _mask(input)
        kept: list[VersionedTensor] = []  # of the output; the output itself would be kept by itself
        output: LazyTensor = _LazyRectification.apply(input, VersionedTensor.of(input), mask, kept)  # type: ignore[no-untyped-call]
        kept.append(VersionedTensor.of(output.detached()))
        if not lazy:
            with _disable_current_modes():  # those that record torch's ReLUs: on_relu has this one
                output.op.value()
        note(output, input, Rectified(input, mask))
        on_relu(output)
        return output

    return forward


def _mask(input: Tensor) -> Tensor:
    """The mask, kept with the input: parallel branches of a cell share it."""
    kept: tuple[int, Tensor] | None = getattr(input, "_vkdnw_mask", None)
    if kept is None or kept[0] != input._version:
        mask = _mask_of_sum(input)
        kept = input._version, relu_mask(input.detach()) if mask is None else mask
        input._vkdnw_mask = kept  # type: ignore[attr-defined]
    return kept[1]


def _mask_of_sum(input: Tensor) -> Tensor | None:
    """The mask that is computed with a lazy sum, unless the sum was written to since."""
    op = input.op if isinstance(input, LazyTensor) else None
    if not isinstance(op, SumLazyOp) or input._version > 0:
        return None
    op.value()
    return op.relu_mask


class _LazyRectification(torch.autograd.Function):
    """ReLU. Its backward runs where another layer than a convolution reads it."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, reading: VersionedTensor, mask: Tensor, kept: list[VersionedTensor]
    ) -> Tensor:
        ctx.mask, ctx.kept = mask, kept
        output: LazyTensor = LazyTensor.of(input, ReLULazyOp(reading))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (output,) = ctx.kept
        passed = torch.ops.aten.threshold_backward(gradients[0], output.numbers(), 0)
        return passed, None, None, None

    @staticmethod
    def tape_layer(node: Node) -> TapeLayer:
        def mask() -> Tensor:
            (output,) = node.kept
            output.check()
            found: Tensor = node.mask
            return found

        return TapeLayer(Layer.IDENTITY, mask=mask)
