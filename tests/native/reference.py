"""Slow and obvious versions of the native ops, in float64, one number at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def jacobian_columns(
    shape: Sequence[int],
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


def softmax_factor(p: Tensor, released: bool) -> Tensor:
    """L [C, C] with L L^T = diag(p) - p p^T, entry by entry from its closed form."""
    classes = len(p)
    factor = torch.zeros(classes, classes, dtype=torch.float64)
    q_before = torch.ones((), dtype=torch.float64)
    for j in range(classes - 1):
        q = 1.0 - p[: j + 1].sum() if released else p[j + 1 :].sum()
        factor[j, j] = (p[j] * q / q_before).sqrt()
        for i in range(j + 1, classes):
            factor[i, j] = -p[i] * (p[j] / (q_before * q)).sqrt()
        q_before = q
    return factor


def fisher_factor(jacobian: Tensor, probabilities: Tensor, released: bool) -> Tensor:
    """L^T J or L J of every sample, stacked, from the explicit L."""
    blocks = []
    for rows, p in zip(jacobian.double(), probabilities.double(), strict=True):
        factor = softmax_factor(p, released)
        if released:
            blocks.append(factor[:, :-1] @ rows)
        else:
            blocks.append((factor.T @ torch.cat([rows, torch.zeros_like(rows[:1])]))[:-1])
    return torch.cat(blocks)


def fisher(jacobian: Tensor, probabilities: Tensor) -> Tensor:
    """sum_n J_n^T (diag p_n - p_n p_n^T) J_n, with J_{C-1} = 0, from the explicit covariance."""
    full = torch.cat([jacobian, torch.zeros_like(jacobian[:, :1])], dim=1).double()
    p = probabilities.double()
    covariance = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("nip,nij,njq->pq", full, covariance, full)
