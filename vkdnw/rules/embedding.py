"""Embedding: row ``v`` of the weight receives the gradient of every position that looked it up."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vkdnw.rules.rule import Picks, Rule, pointwise_picks, positions_last


def _supports(layer: nn.Module) -> bool:
    """Plain look-ups only; autograd rescales or rewrites the others (see the options' names)."""
    assert isinstance(layer, nn.Embedding)
    return not (layer.scale_grad_by_freq or layer.sparse or layer.max_norm is not None)


def _indicators(layer: nn.Embedding, tokens: Tensor, vocabulary: Tensor) -> Tensor:
    """``[b, len(vocabulary), T]``: 1 where a position holds the token; padding looks up nothing."""
    matches = tokens.unsqueeze(1) == vocabulary.to(tokens.device)[:, None]
    if layer.padding_idx is not None:
        matches &= (tokens != layer.padding_idx).unsqueeze(1)
    return matches.to(layer.weight.dtype)


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    assert isinstance(layer, nn.Embedding)
    vocabulary = torch.unique(indices // layer.embedding_dim)
    return _indicators(layer, x.flatten(1), vocabulary)[:, :, None, None]  # [b, V, 1, 1, T]


def _gradient(layer: nn.Module, g: Tensor) -> Tensor:
    return positions_last(g.flatten(2, -2))  # [K, b, r, ..., D] -> [K, b, D, 1, 1, T]


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    assert isinstance(layer, nn.Embedding)
    picks = pointwise_picks(indices % layer.embedding_dim, ones=False)
    _, position = torch.unique(indices // layer.embedding_dim, return_inverse=True)
    return replace(picks, input_channel=position)


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    """``x`` holds the indicators of exactly ``rows``, because whole rows are chosen."""
    return torch.einsum("kbdt,bvt->kbvd", g.flatten(-3), x.flatten(-3))


RULE = Rule(
    supports=_supports,
    batched=lambda layer, x: x.dim() >= 1,
    channels=_channels,
    gradient=_gradient,
    picks=_picks,
    dense=_dense,
)
