"""BatchNorm1d, 2d and 3d in eval mode: a fixed scale and shift of each channel.

``y = weight * (x - running_mean) / sqrt(running_var + eps) + bias``. In train mode samples would
mix, and a per-sample Jacobian would not exist; such a layer is refused before any rule is asked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vkdnw.rules.rule import Picks, Rule, dense_product, dense_sum, pointwise_picks
from vkdnw.runtime.host_copies import on_host


def normaliser(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """``(mean, 1 / standard deviation)`` of each channel, float64 on the CPU."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, variance = on_host(layer.running_mean).double(), on_host(layer.running_var).double()
    return mean, torch.rsqrt(variance + layer.eps)


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    x = x.transpose(1, 2).flatten(3) if x.dim() > 3 else x.transpose(1, 2).unsqueeze(-1)
    return x.unsqueeze(2)  # [b, r, C, ...] -> [b, C, 1, r, S]


def _gradient(layer: nn.Module, g: Tensor) -> Tensor:
    g = g.transpose(2, 3).flatten(4) if g.dim() > 4 else g.transpose(2, 3).unsqueeze(-1)
    return g.unsqueeze(3)  # [K, b, r, C, ...] -> [K, b, C, 1, r, S]


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    assert isinstance(layer, _BatchNorm)
    if leaf == "bias":
        return pointwise_picks(indices, ones=True)
    mean, inverse_std = normaliser(layer)
    return pointwise_picks(indices, ones=False, shift=mean[indices], scale=inverse_std[indices])


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    assert isinstance(layer, _BatchNorm)
    if leaf == "bias":
        return dense_sum(g, rows)
    mean, inverse_std = (value.to(x).view(-1, 1, 1, 1) for value in normaliser(layer))
    return dense_product((x - mean) * inverse_std, g, rows)


RULE = Rule(
    supports=lambda layer: isinstance(layer, _BatchNorm) and layer.running_mean is not None,
    batched=lambda layer, x: True,
    channels=_channels,
    gradient=_gradient,
    picks=_picks,
    dense=_dense,
)
