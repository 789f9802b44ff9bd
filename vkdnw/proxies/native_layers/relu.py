"""ReLU that keeps the mask of its gradient, one bit a number."""

# ruff: noqa: A002 - a replaced forward keeps the name of torch's argument, for keyword calls

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vkdnw.convolution import rectify
from vkdnw.proxies.native_layers.values import note, suits


@dataclass(frozen=True)
class Rectified:
    """What a ReLU read, and where its gradient passes."""

    input: Tensor
    mask: Tensor


def native_relu(on_relu: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
    """A ReLU's forward that tells its output to an observer."""

    def forward(input: Tensor) -> Tensor:
        if not suits(input):
            return F.relu(input)  # the observer of torch's own operators sees this one
        output, mask = _Rectification.apply(input)  # type: ignore[no-untyped-call]
        note(output, input, Rectified(input, mask))
        on_relu(output)
        return output  # type: ignore[no-any-return]

    return forward


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
