"""Layer rules, and the canonical form into which every rule brings a layer.

Differentiating a layer's parameter needs the layer's input and the gradient with respect to its
output, nothing else. Every rule brings both into one canonical form,

* input ``x``: ``[b, Cx, X1, X2, X3]`` (samples, input channels, up to three position axes),
* output gradient ``g``: ``[K, b, Cg, G1, G2, G3]`` (cotangents, samples, output channels,
  positions),

in which the derivative with respect to one scalar parameter is a strided correlation

    scale * sum_o  g[k, n, gc, o] * (x[n, ic, start + step * o] - shift)

over the output positions ``o`` whose input position exists (zero padding contributes nothing).
A :class:`Picks` table lists such correlations; the native op ``jacobian_columns_`` evaluates the
tables of all layers at once. ``dense`` gives every scalar of a range of rows of a parameter and is
used where so many scalars are chosen that a matrix product is cheaper than picking them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Picks:
    """Strided correlations, one row per chosen scalar (see the module's docstring)."""

    grad_channel: Tensor  # [q] int64
    input_channel: Tensor  # [q] int64; -1 stands for an input of ones
    start: Tensor  # [q, 3] int64
    step: Tensor  # [q, 3] int64
    shift: Tensor  # [q] float64
    scale: Tensor  # [q] float64


@dataclass(frozen=True)
class Rule:
    """How one layer type is differentiated; ``leaf`` is the parameter's name in the layer.

    ``supports``  whether this layer is covered (its options may exclude it).
    ``batched``   whether an input has a leading axis of rows before the layer's own axes: layers
                  also take a lone image, or a vector of parameters.
    ``channels``  input ``[b, r, ...]`` to canonical ``x``; ``r`` rows of the layer's leading axis
                  belong to one sample (windows of an image, frames of a clip; usually 1).
    ``gradient``  output gradient ``[K, b, r, ...]`` to canonical ``g``.
    ``picks``     the correlations for the flat indices chosen of a parameter.
    ``dense``     ``(layer, leaf, x, g, rows)`` to ``[K, b, len(rows), row size]``: all scalars of
                  the rows (first axis of the parameter) ``range(rows.start, rows.stop)``.
    """

    supports: Callable[[nn.Module], bool]
    batched: Callable[[nn.Module, Tensor], bool]
    channels: Callable[[nn.Module, str, Tensor, Tensor], Tensor]
    gradient: Callable[[nn.Module, Tensor], Tensor]
    picks: Callable[[nn.Module, str, Tensor], Picks]
    dense: Callable[[nn.Module, str, Tensor, Tensor, range], Tensor]
    single_row: bool = False  # r must be 1: the layer leaves no canonical axis for it


def pointwise_picks(
    channel: Tensor,
    *,
    ones: bool,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
) -> Picks:
    """Picks of a per-channel parameter: gradient and input at the same position."""
    remembered = _remembered if len(channel) <= REMEMBERED else _positions
    start, step, minus, zeros, units = remembered(len(channel))
    return Picks(
        grad_channel=channel,
        input_channel=minus if ones else channel,
        start=start,
        step=step,
        shift=zeros if shift is None else shift,
        scale=units if scale is None else scale,
    )


REMEMBERED = 16
"""Picks are kept for reuse for at most so many scalars of a parameter, to bound the memory."""


def _positions(count: int) -> tuple[Tensor, ...]:
    """The parts of so many picks that follow from their number alone."""
    return (
        torch.zeros(count, 3, dtype=torch.int64, device="cpu"),
        torch.ones(count, 3, dtype=torch.int64, device="cpu"),
        torch.full((count,), -1, dtype=torch.int64, device="cpu"),
        torch.zeros(count, dtype=torch.float64, device="cpu"),
        torch.ones(count, dtype=torch.float64, device="cpu"),
    )


_remembered = lru_cache(maxsize=REMEMBERED)(_positions)  # nobody writes to picks


def dense_sum(g: Tensor, rows: range) -> Tensor:
    """Dense derivative of a bias: the gradient summed over positions, ``[K, b, rows, 1]``."""
    return g[:, :, rows.start : rows.stop].sum((-3, -2, -1)).unsqueeze(-1)


def dense_product(x: Tensor, g: Tensor, rows: range) -> Tensor:
    """Dense derivative of a per-channel scale: sum of g x over positions, ``[K, b, rows, 1]``."""
    chosen = slice(rows.start, rows.stop)
    return (g[:, :, chosen] * x[:, chosen]).sum((-3, -2, -1)).unsqueeze(-1)


def positions_last(tensor: Tensor) -> Tensor:
    """``[..., r, T..., C]`` (channels last) to canonical ``[..., C, 1, 1, positions]``.

    The leading axes kept are those before ``r``: one (samples) for an input, two (cotangents,
    samples) for a gradient; the caller passes ``[lead, r * T, C]`` flattened.
    """
    return tensor.transpose(-1, -2).unsqueeze(-2).unsqueeze(-2)
