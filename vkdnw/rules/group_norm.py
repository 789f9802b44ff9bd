"""GroupNorm: a per-channel scale and shift after normalising groups of channels of a sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw.rules import batch_norm
from vkdnw.rules.rule import Picks, Rule, dense_product, dense_sum, pointwise_picks


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    assert isinstance(layer, nn.GroupNorm)
    normalised = F.group_norm(x.flatten(0, 1), layer.num_groups, eps=layer.eps)
    return batch_norm.RULE.channels(layer, leaf, normalised.unflatten(0, x.shape[:2]), indices)


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    return pointwise_picks(indices, ones=leaf == "bias")


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    return dense_sum(g, rows) if leaf == "bias" else dense_product(x, g, rows)


RULE = Rule(
    supports=lambda layer: True,
    batched=lambda layer, x: x.dim() >= 2,
    channels=_channels,
    gradient=batch_norm.RULE.gradient,  # channels sit on the same axis
    picks=_picks,
    dense=_dense,
)
