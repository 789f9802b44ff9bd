"""Slow and obvious versions of the native ops, in float64, one number at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def jacobian_columns(
    shape: tuple[int, int, int],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    picks: Tensor,
    affine: Tensor,
) -> Tensor:
    """The increment that `vkdnw.ops.jacobian_columns_` adds, float64 of `shape` [b, K, P]."""
    jacobian = torch.zeros(shape, dtype=torch.float64)
    for (column, layer, gc, ic, *geometry), (shift, scale) in zip(
        picks.tolist(), affine.tolist(), strict=True
    ):
        start, step = geometry[:3], geometry[3:]
        x, g = inputs[layer].double(), grads[layer].double()
        for o in itertools.product(*map(range, g.shape[3:])):
            at = [start[d] + step[d] * o[d] for d in range(3)]
            grad = g[:, :, gc, *o].T  # [b, K]
            if ic == -1:
                jacobian[:, :, column] += scale * grad
            elif all(0 <= at[d] < x.shape[2 + d] for d in range(3)):
                jacobian[:, :, column] += scale * grad * (x[:, ic, *at] - shift)[:, None]
    return jacobian
