"""The ops that every score needs, as plain torch operations.

They take the place of the native ones where the compiled library is missing
(:func:`vkdnw.ops.library.native`). They compute the same quantities in the same precision, on any
device of torch, and are slower. All other native code only saves time. It is left out then, and
torch's own layers and autograd compute instead.

Arguments are those of the typed functions of this package, which document them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ONES = -1  # as vkdnw.ops.jacobian_columns has it


def add_jacobian_columns(
    jacobian: Tensor,
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    picks: Tensor,
    affine: Tensor,
) -> None:
    """Adds one column after the other, see :func:`vkdnw.ops.jacobian_columns.jacobian_columns_`."""
    for (column, layer, grad_channel, input_channel, *geometry), (shift, scale) in zip(
        picks.tolist(), affine.tolist(), strict=True
    ):
        g = grads[layer][:, :, grad_channel].to(jacobian.dtype)  # [K, b, G1, G2, G3]
        if input_channel == ONES:
            found = g.sum((2, 3, 4))
        else:
            x = inputs[layer][:, input_channel].to(jacobian.dtype)  # [b, X1, X2, X3]
            read, written = _inside(x.shape[1:], g.shape[2:], geometry[:3], geometry[3:])
            found = torch.einsum("kbxyz,bxyz->kb", g[:, :, *written], x[:, *read] - shift)
        jacobian[:, :, column] += scale * found.T


def _inside(
    input_size: Sequence[int], grad_size: Sequence[int], start: Sequence[int], step: Sequence[int]
) -> tuple[list[slice], list[slice]]:
    """The input positions ``start + step * o`` that lie inside the input, and their outputs o."""
    read, written = [], []
    for size, outputs, first, by in zip(input_size, grad_size, start, step, strict=True):
        low = max(0, -(first // by))  # the smallest o with first + by * o >= 0
        high = max(low, min(outputs, (size - 1 - first) // by + 1))
        read.append(slice(first + by * low, max(0, first + by * (high - 1) + 1), by))
        written.append(slice(low, high))
    return read, written


def fisher_factor(jacobian: Tensor, probabilities: Tensor, released: bool) -> Tensor:
    """See :func:`vkdnw.ops.fisher.fisher_factor`.

    With ``q_j = p_{j+1} + ... + p_{C-1}`` and ``q_{-1} = 1``, the factor L of diag p - p p^T gives

        (L^T J)_j = own_j (J_j - sum_{i>j} p_i J_i / q_j),        own_j = sqrt(p_j q_j / q_{j-1})
        (L J)_i   = own_i J_i - p_i sum_{j<i} sqrt(p_j / (q_{j-1} q_j)) J_j.
    """
    rows = _released_rows if released else _fisher_rows
    return rows(jacobian.double(), probabilities.double()).flatten(0, 1)


def _fisher_rows(jacobian: Tensor, p: Tensor) -> Tensor:
    """``L^T J``, ``[B, C - 1, P]``, of ``J_j - J_{C-1}``; where no probability is left, zero."""
    behind = _sums_behind(p)  # [B, C]; q_j
    q, q_before = behind[:, :-1], torch.cat([torch.ones_like(p[:, :1]), behind[:, :-2]], 1)
    left = (q > 0) & (q_before > 0)
    own = torch.where(left, (p[:, :-1] * q / q_before).sqrt(), 0.0)
    mean = torch.where(left, own / q, 0.0)
    weighted = _sums_behind(p[:, :-1, None] * jacobian)
    return own[:, :, None] * jacobian - mean[:, :, None] * weighted


def _released_rows(jacobian: Tensor, p: Tensor) -> Tensor:
    """``L J``, ``[B, C, P]``, of the first C - 1 rows of J; q_j is ``1 - (p_0 + ... + p_j)``."""
    q = 1.0 - p[:, :-1].cumsum(1)  # [B, C - 1]
    if not bool((q > 0).all()):
        raise ValueError(
            "probabilities: a row leaves 1 - (p_0 + ... + p_j) <= 0 before the last class, and the "
            "released convention divides by it; use smoothing or the fisher convention"
        )
    q_before = torch.cat([torch.ones_like(q[:, :1]), q[:, :-1]], 1)
    carried = (p[:, :-1] / (q_before * q)).sqrt()[:, :, None] * jacobian
    before = torch.cat([torch.zeros_like(carried[:, :1]), carried.cumsum(1)], 1)  # [B, C, P]
    rows = -p[:, :, None] * before
    rows[:, :-1] += (p[:, :-1] * q / q_before).sqrt()[:, :, None] * jacobian
    return rows


def _sums_behind(x: Tensor) -> Tensor:
    """Of each row of ``[B, n, ...]``: the sum of the rows behind it, without subtracting."""
    return torch.cat([x[:, 1:].flip(1).cumsum(1).flip(1), torch.zeros_like(x[:, :1])], 1)


def add_fisher(
    fisher: Tensor, jacobian: Tensor, probabilities: Tensor, released: bool, scale: float
) -> None:
    """See :func:`vkdnw.ops.fisher.fisher_accumulate_`; the factor of one sample at a time."""
    fisher.copy_(fisher.tril() + fisher.tril(-1).mT)
    for rows, p in zip(jacobian.split(1), probabilities.split(1), strict=True):
        factor = fisher_factor(rows, p, released).to(fisher.dtype)
        fisher.addmm_(factor.mT, factor, alpha=scale)
    fisher.copy_(fisher.tril() + fisher.tril(-1).mT)  # BLAS may round the two triangles apart
