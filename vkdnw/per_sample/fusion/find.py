"""Finds, in a probe's graph, layers that can be computed together without changing a derivative.

Around a convolution, ``ReLU -> conv -> BatchNorm`` holds two chances to save passes over feature
maps in the forward and in each of the many backward passes:

* BatchNorm in eval mode is a fixed scale and shift of each channel, so it folds into the weights.
  The derivatives stay those of the separate layers: with ``y = s * conv(x) + t`` the gradient at
  the convolution's own output is ``s g``, and the normalised input is ``(y - bias) / weight``.
* On a CPU in float32, the data gradients of 3x3, 1x1 and strided convolutions have native ops, by
  Winograd's algorithm and as products, that apply the ReLU's mask on the way out.

A pattern counts only where the graph proves it: each layer called once, each output read by the
next layer alone, no hooks of the caller's in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vkdnw.backward.graph import Node
from vkdnw.backward.layers.eligibility import data_gradient
from vkdnw.ops.backpropagate import Layer
from vkdnw.per_sample.capture import CallSite, Record
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.runtime.host_copies import on_host

MAX_OFFSET = 10.0  # |bias / weight| up to which (y - bias) / weight keeps its digits


@dataclass(frozen=True)
class FoldedNorm:
    """A BatchNorm that is computed by the convolution before it."""

    name: str
    scale: Tensor  # [C] float64 on the CPU, as the others: weight / sqrt(running_var + eps)
    shift: Tensor  # bias - running_mean * scale
    weight: Tensor
    bias: Tensor
    factor: Tensor  # scale on the model's device, in float32 or finer; all norms' come in one copy
    offset: Tensor  # shift there, in the dtype of BatchNorm's weight


@dataclass(frozen=True)
class Fusion:
    """A convolution and the layers computed together with it, by module name."""

    conv: str
    norm: FoldedNorm | None
    relu: str | None  # in front; only with a native gradient
    gradient: Layer | None  # that computes the data gradient; None: autograd does


def find_fusions(trace: Trace) -> tuple[Fusion, ...]:
    """Every convolution of the probe that is faster when fused."""
    if trace.plain:
        return ()
    single = _single_calls(trace)
    makers = _makers(trace, single)
    norms = _folded_norms(trace, single)
    fusions = []
    for site, record in trace.records.items():
        if site not in single or record.edge is None or not _is_conv(trace, site):
            continue
        conv = trace.layers[site.layer].module
        gradient = data_gradient(conv, record.input, trace.layout)
        relu = _relu_before(trace, record, makers) if gradient is not None else None
        norm = _norm_after(trace, record, makers, norms)
        if gradient is not None or norm is not None:
            fusions.append(Fusion(site.layer, norm, relu, gradient))
    return _with_intact_outputs(trace, tuple(fusions))


def find_folds(trace: Trace) -> tuple[Fusion, ...]:
    """Every convolution that can compute the BatchNorm behind it, however its output is used.

    For passes that read nothing of the pair but the sum of its output and another value.
    """
    single = _single_calls(trace)
    makers = _makers(trace, single)
    norms = _folded_norms(trace, single)
    folds = []
    for site, record in trace.records.items():
        if site in single and record.edge is not None and _is_conv(trace, site):
            norm = _norm_after(trace, record, makers, norms)
            if norm is not None:
                folds.append(Fusion(site.layer, norm, None, None))
    return tuple(folds)


def _is_conv(trace: Trace, site: CallSite) -> bool:
    layer = trace.layers.get(site.layer)
    return layer is not None and isinstance(layer.module, nn.Conv2d) and site in trace.rows


def _single_calls(trace: Trace) -> set[CallSite]:
    """Calls of layers that are called once and carry no hooks of the caller's."""
    repeated = {site.layer for site in trace.records if site.ordinal > 0}
    if trace.graph is not None:  # known layers, without hooks
        return {site for site in trace.records if site.layer not in repeated}
    return {
        site
        for site in trace.records
        if site.layer not in repeated
        and site.layer not in trace.operations  # nothing is there to be replaced
        and not _hooked(trace.module(site.layer))
    }


def _makers(trace: Trace, single: set[CallSite]) -> dict[Node, CallSite]:
    """The calls whose outputs enter the graph at these nodes."""
    return {
        record.edge.node: site
        for site, record in trace.records.items()
        if record.edge is not None and site in single
    }


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _alone(trace: Trace, maker: Node, reader: Node) -> bool:
    """Whether only ``reader`` takes the output of ``maker``."""
    return trace.users.get(maker) == [reader]


def _relu_before(trace: Trace, record: Record, makers: dict[Node, CallSite]) -> str | None:
    assert record.edge is not None
    maker = record.source
    site = makers.get(maker)
    if site is None or site.layer not in trace.relus:
        return None
    return site.layer if _alone(trace, maker, record.edge.node) else None


def _norm_after(
    trace: Trace, record: Record, makers: dict[Node, CallSite], norms: dict[str, FoldedNorm]
) -> FoldedNorm | None:
    assert record.edge is not None
    readers = trace.users.get(record.edge.node, [])
    site = makers.get(readers[0]) if len(readers) == 1 else None
    return None if site is None else norms.get(site.layer)


def _folded_norms(trace: Trace, single: set[CallSite]) -> dict[str, FoldedNorm]:
    """Every BatchNorm that a convolution can compute, all at once: their vectors are short.

    Its normalised input is computed from its output, which must not lose digits by cancellation.
    """
    found = {
        site.layer: norm
        for site in trace.records
        if site in single
        and site in trace.rows
        and isinstance(norm := trace.layers[site.layer].module, nn.BatchNorm2d)
        and norm.affine
    }
    if not found:
        return {}
    sizes = [norm.num_features for norm in found.values()]
    weight, bias, mean, variance = (
        torch.cat([on_host(getattr(norm, name)) for norm in found.values()]).double()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    eps = torch.tensor([norm.eps for norm in found.values()], dtype=torch.float64, device="cpu")
    repeated = eps.repeat_interleave(torch.tensor(sizes, device="cpu"))
    scale = weight * torch.rsqrt(variance + repeated)
    vectors = torch.stack([scale, bias - mean * scale, weight, bias])
    own = next(iter(found.values())).weight
    factor = scale.to(own.device, torch.promote_types(own.dtype, torch.float32), non_blocking=True)
    offset = vectors[1].to(own, non_blocking=True)
    keeps_digits = (weight != 0) & (bias.abs() <= MAX_OFFSET * weight.abs())
    parts = (*(vector.split(sizes) for vector in (*vectors, factor, offset)),)
    pieces = zip(found, keeps_digits.split(sizes), zip(*parts, strict=True), strict=True)
    return {name: FoldedNorm(name, *of_norm) for name, keeps, of_norm in pieces if keeps.all()}


def _with_intact_outputs(trace: Trace, fusions: tuple[Fusion, ...]) -> tuple[Fusion, ...]:
    """Drops folds whose BatchNorm output is overwritten, unless by a ReLU that is fused.

    The derivative of BatchNorm's weight needs its output. An in-place ReLU destroys it, but a fused
    one leaves its input alone.
    """
    tame = {fusion.relu for fusion in fusions if fusion.relu is not None}
    kept = []
    for fusion in fusions:
        if fusion.norm is None or _survives(trace, fusion.norm.name, tame):
            kept.append(fusion)
        elif fusion.gradient is not None:
            kept.append(replace(fusion, norm=None))
    return tuple(kept)


def _survives(trace: Trace, norm: str, tame: set[str]) -> bool:
    record = trace.records[CallSite(norm, 0)]
    if record.output_intact():
        return True
    assert record.edge is not None
    writers = [
        site.layer
        for site, other in trace.records.items()
        if other.edge is not None and [other.edge.node] == trace.users.get(record.edge.node)
    ]
    return len(writers) == 1 and writers[0] in tame
