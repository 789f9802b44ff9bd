"""Folds BatchNorm into the convolution before it, for the length of a call.

In eval mode BatchNorm is a fixed scale and shift of each channel, so ``BatchNorm(conv(x))`` is one
convolution with scaled weights. Folding saves a pass over every feature map in the forward and in
each of the many backward passes. The derivatives stay those of the unfolded layers: with
``y = s * conv(x) + t`` the gradient at the convolution's own output is ``s g``, and the normalised
input of BatchNorm is ``(y - bias) / weight``. Where that would lose accuracy, or the autograd graph
does not prove the pattern, the pair is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.per_sample.capture import CallSite, Record
from vkdnw.per_sample.trace import Trace
from vkdnw.rules.batch_norm import normaliser

MAX_OFFSET = 10.0  # |bias / weight| up to which (y - bias) / weight keeps its digits


@dataclass(frozen=True)
class Fold:
    """A convolution and the BatchNorm that alone reads its output; layer names."""

    conv: str
    norm: str
    scale: Tensor  # [C] float64: weight / sqrt(running_var + eps)
    shift: Tensor  # [C] float64: bias - running_mean * scale


def find_folds(found: Trace) -> tuple[Fold, ...]:
    """Pairs that the probe's graph shows to be foldable without changing any derivative."""
    owners = {
        record.edge.node: site
        for site, record in found.records.items()
        if record.edge is not None and _foldable_conv(found, site, record)
    }
    called_once = _called_once(found)
    folds = []
    for site, record in found.records.items():
        norm = found.layers[site.layer].module
        if not isinstance(norm, nn.BatchNorm2d) or site not in found.rows:
            continue
        source = record.input.grad_fn
        conv_site = owners.get(source)
        if conv_site is None or record.edge is None:
            continue
        alone = found.users.get(source) == [record.edge.node]
        if alone and {site, conv_site} <= called_once and _keeps_digits(norm, record):
            folds.append(_fold(conv_site.layer, site.layer, norm))
    return tuple(folds)


def _foldable_conv(found: Trace, site: CallSite, record: Record) -> bool:
    conv = found.layers[site.layer].module
    return isinstance(conv, nn.Conv2d) and site in found.rows and record.output_intact()


def _called_once(found: Trace) -> set[CallSite]:
    repeated = {site.layer for site in found.calls if site.ordinal > 0}
    return {site for site in found.calls if site.layer not in repeated and _unhooked(found, site)}


def _unhooked(found: Trace, site: CallSite) -> bool:
    """A caller's own hooks must see what they would have seen."""
    module = found.layers[site.layer].module
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _keeps_digits(norm: nn.BatchNorm2d, record: Record) -> bool:
    if norm.weight is None or not record.output_intact():
        return False
    weight, bias = norm.weight.detach(), norm.bias.detach()
    return bool((bias.abs() <= MAX_OFFSET * weight.abs()).logical_and(weight != 0).all())


def _fold(conv: str, norm_name: str, norm: nn.BatchNorm2d) -> Fold:
    mean, inverse_std = normaliser(norm)
    scale = norm.weight.detach().to("cpu", torch.float64) * inverse_std
    shift = norm.bias.detach().to("cpu", torch.float64) - mean * scale
    return Fold(conv, norm_name, scale, shift)


@contextmanager
def folded(found: Trace, folds: tuple[Fold, ...]) -> Iterator[None]:
    """Replaces ``forward`` of the folded layers inside the block."""
    patched: list[nn.Module] = []
    try:
        for fold in folds:
            conv, norm = found.layers[fold.conv].module, found.layers[fold.norm].module
            assert isinstance(conv, nn.Conv2d)
            patched += [conv, norm]
            conv.__dict__["forward"] = _folded_forward(conv, fold, found.layout)
            norm.__dict__["forward"] = _identity
        yield
    finally:
        for module in patched:
            module.__dict__.pop("forward", None)


def _folded_forward(
    conv: nn.Conv2d, fold: Fold, layout: torch.memory_format
) -> Callable[[Tensor], Tensor]:
    weight = conv.weight.detach()
    scale = fold.scale.to(weight.device).view(-1, 1, 1, 1)
    scaled = (weight.double() * scale).to(weight.dtype).contiguous(memory_format=layout)
    shift = fold.shift
    if conv.bias is not None:
        shift = shift + conv.bias.detach().to("cpu", torch.float64) * fold.scale
    offset = shift.to(weight)
    scaled.requires_grad_(True)  # so that the output has a gradient edge, as before

    def forward(input: Tensor) -> Tensor:
        return conv._conv_forward(input, scaled, offset)

    return forward


def _identity(input: Any) -> Any:
    return input
