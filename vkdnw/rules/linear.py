"""Linear: ``y = x W^T + b`` over any leading axes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vkdnw.rules.rule import Picks, Rule, dense_sum, pointwise_picks, positions_last


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    return positions_last(x.flatten(1, -2))  # [b, r, ..., I] -> [b, I, 1, 1, T]


def _gradient(layer: nn.Module, g: Tensor) -> Tensor:
    return positions_last(g.flatten(2, -2))  # [K, b, r, ..., O] -> [K, b, O, 1, 1, T]


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    assert isinstance(layer, nn.Linear)
    if leaf == "bias":
        return pointwise_picks(indices, ones=True)
    picks = pointwise_picks(indices // layer.in_features, ones=False)
    return replace(picks, input_channel=indices % layer.in_features)


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    if leaf == "bias":
        return dense_sum(g, rows)
    g_rows = g[:, :, rows.start : rows.stop].flatten(-3)  # [K, b, rows, T]
    return torch.einsum("kbot,bit->kboi", g_rows, x.flatten(-3))


RULE = Rule(
    supports=lambda layer: True,
    batched=lambda layer, x: x.dim() >= 2,
    channels=_channels,
    gradient=_gradient,
    picks=_picks,
    dense=_dense,
)
