"""LayerNorm: an elementwise scale and shift after normalising the last axes of a sample."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw.rules.rule import Picks, Rule, dense_product, dense_sum, pointwise_picks, positions_last


def _batched(layer: nn.Module, x: Tensor) -> bool:
    assert isinstance(layer, nn.LayerNorm)
    return x.dim() > len(layer.normalized_shape)


def _flattened(layer: nn.LayerNorm, tensor: Tensor, lead: int) -> Tensor:
    """``[lead..., r, T..., normalised axes]`` to canonical ``[lead..., N, 1, 1, positions]``."""
    tensor = tensor.flatten(-len(layer.normalized_shape))
    return positions_last(tensor.flatten(lead, -2))


def flattened(layer: nn.Module, normalised: Tensor) -> Tensor:
    """The canonical form of the normalised input."""
    assert isinstance(layer, nn.LayerNorm)
    return _flattened(layer, normalised, lead=1)


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    normalised = F.layer_norm(x, layer.normalized_shape, None, None, layer.eps)
    return flattened(layer, normalised)


def _gradient(layer: nn.Module, g: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    return _flattened(layer, g, lead=2)


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    return pointwise_picks(indices, ones=leaf == "bias")


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    row = layer.weight.numel() // layer.weight.shape[0]
    flat = range(rows.start * row, rows.stop * row)
    every = dense_sum(g, flat) if leaf == "bias" else dense_product(x, g, flat)
    by_row: Tensor = every.squeeze(-1).unflatten(-1, (len(rows), row))
    return by_row


RULE = Rule(
    supports=lambda layer: True,
    batched=_batched,
    channels=_channels,
    gradient=_gradient,
    picks=_picks,
    dense=_dense,
)
