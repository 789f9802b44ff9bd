"""Conv1d, Conv2d and Conv3d: any stride, padding, padding mode, dilation and groups."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from vkdnw.rules.rule import REMEMBERED, Picks, Rule, dense_sum, pointwise_picks


def _spatial(layer: _ConvNd) -> int:
    return len(layer.kernel_size)


def _three(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    """Per-axis values of a 1-, 2- or 3-D layer on the canonical three axes (the last ones)."""
    padded = [fill] * (3 - len(values)) + list(values)
    return padded[0], padded[1], padded[2]


def _zero_padding(layer: _ConvNd) -> tuple[int, int, int]:
    """Zeros before the input on each canonical axis; other padding modes pad the input itself."""
    if layer.padding_mode != "zeros":
        return 0, 0, 0
    # _reversed_padding_repeated_twice runs from the last axis: (before, after) pairs. It covers
    # padding="same", where the two sides may differ; the far side needs no number here.
    before = layer._reversed_padding_repeated_twice[0::2][::-1]
    return _three(before, 0)


def _canonical(layer: _ConvNd, tensor: Tensor, lead: int) -> Tensor:
    """``[lead..., r, C, spatial]`` to ``[lead..., C, X1, X2, X3]``; r takes an unused axis."""
    tensor = tensor.transpose(lead, lead + 1)  # [lead..., C, r, spatial]
    if _spatial(layer) == 3:
        return tensor.squeeze(lead + 1)
    if _spatial(layer) == 1:
        return tensor.unsqueeze(lead + 1)
    return tensor


def _supports(layer: nn.Module) -> bool:
    """A convolution whose weight and padding were not replaced after construction."""
    if not isinstance(layer, _ConvNd):
        return False
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        # The layer computes with `padding`; picks read the list that its constructor made of it.
        made_with = tuple(layer._reversed_padding_repeated_twice[0::2][::-1])
        if tuple(layer.padding) != made_with:
            return False
    return tuple(layer.weight.shape[2:]) == tuple(layer.kernel_size)


def _batched(layer: nn.Module, x: Tensor) -> bool:
    assert isinstance(layer, _ConvNd)
    return x.dim() == _spatial(layer) + 2


def _channels(layer: nn.Module, leaf: str, x: Tensor, indices: Tensor) -> Tensor:
    assert isinstance(layer, _ConvNd)
    if layer.padding_mode != "zeros":
        rows = x.flatten(0, 1)
        rows = F.pad(rows, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        x = rows.unflatten(0, x.shape[:2])
    return _canonical(layer, x, lead=1)


def _gradient(layer: nn.Module, g: Tensor) -> Tensor:
    assert isinstance(layer, _ConvNd)
    return _canonical(layer, g, lead=2)


def _picks(layer: nn.Module, leaf: str, indices: Tensor) -> Picks:
    assert isinstance(layer, _ConvNd)
    if leaf == "bias":
        return pointwise_picks(indices, ones=True)
    geometry = _Geometry(
        _three(layer.kernel_size, 1),
        _three(layer.stride, 1),
        _three(layer.dilation, 1),
        _zero_padding(layer),
        layer.in_channels // layer.groups,
        layer.out_channels // layer.groups,
    )
    if len(indices) > REMEMBERED:
        return _picks_of(geometry, indices)
    return _remembered_picks(geometry, tuple(indices.tolist()))


class _Geometry(NamedTuple):
    """The sizes of a convolution from which, with the scalars, the picks of its weight follow."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]
    group_inputs: int
    group_outputs: int


@lru_cache(maxsize=1024)
def _remembered_picks(geometry: _Geometry, indices: tuple[int, ...]) -> Picks:
    """Kept for reuse, and read-only: the networks of a search space have the same few layers."""
    return _picks_of(geometry, torch.tensor(indices, device="cpu"))


def _picks_of(geometry: _Geometry, indices: Tensor) -> Picks:
    kernel, group_inputs = geometry.kernel, geometry.group_inputs
    window = kernel[0] * kernel[1] * kernel[2]
    tap, within = indices % window, indices // window
    out_channel = within // group_inputs
    offset = torch.stack(
        [tap // (kernel[1] * kernel[2]), tap // kernel[2] % kernel[1], tap % kernel[2]], dim=1
    )
    dilation = torch.tensor(geometry.dilation, device="cpu")
    count = len(indices)
    input_channel = out_channel // geometry.group_outputs * group_inputs + within % group_inputs
    return Picks(
        grad_channel=out_channel,
        input_channel=input_channel,
        start=offset * dilation - torch.tensor(geometry.padding, device="cpu"),
        step=torch.tensor(geometry.stride, device="cpu").expand(count, 3).contiguous(),
        shift=torch.zeros(count, dtype=torch.float64, device="cpu"),
        scale=torch.ones(count, dtype=torch.float64, device="cpu"),
    )


def _padded(layer: _ConvNd, x: Tensor) -> Tensor:
    """The canonical input with its zero padding written out."""
    if layer.padding_mode != "zeros":
        return x
    return F.pad(x, layer._reversed_padding_repeated_twice)


def _dense(layer: nn.Module, leaf: str, x: Tensor, g: Tensor, rows: range) -> Tensor:
    assert isinstance(layer, _ConvNd)
    if leaf == "bias":
        return dense_sum(g, rows)
    group_outputs = layer.out_channels // layer.groups
    first, last = rows.start // group_outputs, (rows.stop - 1) // group_outputs + 1
    grouped_g = g.unflatten(2, (layer.groups, group_outputs))[:, :, first:last].flatten(-3)
    x = _padded(layer, x).unflatten(1, (layer.groups, -1))[:, first:last]  # [b, groups, I, X...]
    stride, dilation = _three(layer.stride, 1), _three(layer.dilation, 1)
    taps = []
    for tap in itertools.product(*(range(size) for size in _three(layer.kernel_size, 1))):
        seen = x  # the input position under this tap, for every output position
        for axis in range(3):
            start = tap[axis] * dilation[axis]
            stop = start + stride[axis] * (g.shape[3 + axis] - 1) + 1
            seen = seen.narrow(3 + axis, start, stop - start)
        seen = seen[..., :: stride[0], :: stride[1], :: stride[2]].flatten(-3)
        taps.append(torch.einsum("kbgop,bgip->kbgoi", grouped_g, seen))
    every = torch.stack(taps, dim=-1).flatten(-2).flatten(2, 3)  # [K, b, outputs, I * window]
    skipped = rows.start - first * group_outputs
    return every[:, :, skipped : skipped + len(rows)]


RULE = Rule(
    supports=_supports,
    batched=_batched,
    channels=_channels,
    gradient=_gradient,
    picks=_picks,
    dense=_dense,
)
