"""From a selection and a trace: the table of everything a chunk has to compute."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vkdnw.host_copies import on_host
from vkdnw.per_sample.capture import CallSite
from vkdnw.per_sample.fusion import Fusion
from vkdnw.per_sample.trace import Layer, Trace
from vkdnw.rules import Picks
from vkdnw.weights import Selection

# Picking a scalar costs one pass over its two channels; a matrix product gives all scalars of a
# row together. Below these bounds picking is cheaper.
DENSE_COUNT = 64
DENSE_SHARE = 1 / 16


@dataclass(frozen=True)
class DenseTerm:
    """Many scalars of one parameter in one layer call: all of some rows, then the chosen ones."""

    site: CallSite
    leaf: str
    rows: range
    row_indices: Tensor  # every flat index of the rows
    chosen: Tensor  # positions of the selected ones among them
    columns: slice


@dataclass(frozen=True)
class FallbackTerm:
    """A parameter that is differentiated sample by sample."""

    name: str
    indices: Tensor
    columns: slice


@dataclass(frozen=True)
class Entry:
    """A layer call that picks refer to by its number, and the channels they read, ascending."""

    site: CallSite
    weight_indices: Tensor  # chosen flat indices of the weight, for the rule's channels
    input_channels: Tensor  # of the canonical input
    grad_channels: Tensor  # of the canonical output gradient


@dataclass(frozen=True)
class Plan:
    """What a chunk computes."""

    columns: int
    entries: tuple[Entry, ...]
    picks: Tensor  # [Q, 10] int64; layer numbers count entries, channels those kept of an entry
    affine: Tensor  # [Q, 2] float64
    dense: tuple[DenseTerm, ...]
    fallback: tuple[FallbackTerm, ...]
    fused: frozenset[str]  # layers whose own parameters do not enter the graph
    taps: dict[str, tuple[int, ...]]  # native convolution -> entries that read its gradient


def make_plan(selection: Selection, found: Trace, fusions: tuple[Fusion, ...] = ()) -> Plan:
    """Lays out the columns of ``selection``; unreached parameters keep columns of zeros."""
    picked: dict[CallSite, list[_Picked]] = {}
    dense: list[DenseTerm] = []
    fallback: list[FallbackTerm] = []
    fusion_of = _by_layer(fusions)
    for name, indices, offset in zip(
        selection.names, selection.indices, selection.offsets, strict=True
    ):
        columns = slice(offset, offset + len(indices))
        if name in found.fallback:
            fallback.append(FallbackTerm(name, indices, columns))
        for site, leaf in found.terms.get(name, ()):
            layer = found.layers[site.layer]
            if picks_are_cheaper(layer, leaf, len(indices)):
                picks = layer.rule.picks(layer.module, leaf, indices)
                picks = _fused_picks(picks, leaf, layer, fusion_of.get(site.layer), site)
                picked.setdefault(site, []).append(_Picked(leaf, indices, offset, picks))
            else:
                dense.append(_dense_term(layer, site, leaf, indices, columns))
    entries = _with_shared_channels(
        tuple(_entry(site, parts) for site, parts in picked.items()), fusions
    )
    rows = [
        _rows(number, entry, part)
        for number, entry in enumerate(entries)
        for part in picked[entry.site]
    ]
    return Plan(
        columns=len(selection),
        entries=entries,
        picks=torch.cat([table for table, _ in rows]) if rows else torch.empty(0, 10).long(),
        affine=torch.cat([affine for _, affine in rows]) if rows else torch.empty(0, 2).double(),
        dense=tuple(dense),
        fallback=tuple(fallback),
        fused=frozenset(fusion_of),
        taps=_taps(fusions, entries),
    )


@dataclass(frozen=True)
class _Picked:
    """Scalars of one parameter that are picked in one layer call."""

    leaf: str
    indices: Tensor
    first_column: int
    picks: Picks


def _entry(site: CallSite, parts: list[_Picked]) -> Entry:
    of_weight = [part.indices for part in parts if part.leaf == "weight"]
    input_channels = torch.unique(torch.cat([part.picks.input_channel for part in parts]))
    return Entry(
        site,
        weight_indices=of_weight[0] if of_weight else torch.zeros(1, dtype=torch.int64),
        input_channels=input_channels[input_channels >= 0],
        grad_channels=torch.unique(torch.cat([part.picks.grad_channel for part in parts])),
    )


def _with_shared_channels(
    entries: tuple[Entry, ...], fusions: tuple[Fusion, ...]
) -> tuple[Entry, ...]:
    """Lets a convolution and the BatchNorm folded into it keep the same gradient channels."""
    place = {entry.site.layer: number for number, entry in enumerate(entries)}
    shared = list(entries)
    for fusion in fusions:
        if fusion.norm is None or not {fusion.conv, fusion.norm.name} <= place.keys():
            continue
        pair = [place[fusion.conv], place[fusion.norm.name]]
        channels = torch.unique(torch.cat([shared[number].grad_channels for number in pair]))
        for number in pair:
            shared[number] = replace(shared[number], grad_channels=channels)
    return tuple(shared)


def _taps(fusions: tuple[Fusion, ...], entries: tuple[Entry, ...]) -> dict[str, tuple[int, ...]]:
    """Entries whose output gradient passes through a native convolution's backward."""
    number = {entry.site.layer: position for position, entry in enumerate(entries)}
    taps = {}
    for fusion in fusions:
        sharing = (fusion.conv, *([fusion.norm.name] if fusion.norm is not None else []))
        readers = tuple(number[layer] for layer in sharing if layer in number)
        if fusion.gradient is not None and readers:
            taps[fusion.conv] = readers
    return taps


def _rows(number: int, entry: Entry, part: _Picked) -> tuple[Tensor, Tensor]:
    """The rows ``[q, 10]`` and ``[q, 2]`` of a part in the tables of the native op."""
    picks = part.picks
    kept = torch.searchsorted(entry.input_channels, picks.input_channel)
    input_channel = torch.where(picks.input_channel < 0, picks.input_channel, kept)
    grad_channel = torch.searchsorted(entry.grad_channels, picks.grad_channel)
    column = part.first_column + torch.arange(len(part.indices))
    head = [column, torch.full_like(column, number), grad_channel, input_channel]
    table = torch.cat([torch.stack(head, dim=1), picks.start, picks.step], dim=1)
    return table, torch.stack([picks.shift, picks.scale], dim=1)


def picks_are_cheaper(layer: Layer, leaf: str, count: int) -> bool:
    """Whether ``count`` scalars of a parameter are picked one by one."""
    size = layer.module._parameters[leaf].numel()  # type: ignore[union-attr]
    return count <= DENSE_COUNT or count < DENSE_SHARE * size


def _by_layer(fusions: tuple[Fusion, ...]) -> dict[str, Fusion]:
    """The fusion that a convolution or a folded BatchNorm is part of."""
    found = {fusion.conv: fusion for fusion in fusions}
    found.update({fusion.norm.name: fusion for fusion in fusions if fusion.norm is not None})
    return found


def _fused_picks(
    picks: Picks, leaf: str, layer: Layer, fusion: Fusion | None, site: CallSite
) -> Picks:
    """Picks in terms of a folded pair's common output and its gradient."""
    if fusion is None or fusion.norm is None:
        return picks
    channel = picks.grad_channel
    if site.layer == fusion.conv:
        return replace(picks, scale=picks.scale * fusion.norm.scale[channel])
    if leaf == "bias":
        return picks
    assert isinstance(layer.module, nn.BatchNorm2d)
    weight, bias = on_host(layer.module.weight).double(), on_host(layer.module.bias).double()
    return replace(picks, shift=bias[channel], scale=1 / weight[channel])


def _dense_term(
    layer: Layer, site: CallSite, leaf: str, indices: Tensor, columns: slice
) -> DenseTerm:
    parameter = layer.module._parameters[leaf]
    assert parameter is not None
    size = parameter.numel() // parameter.shape[0]
    rows = range(int(indices[0]) // size, int(indices[-1]) // size + 1)
    flat = torch.arange(rows.start * size, rows.stop * size)
    return DenseTerm(site, leaf, rows, flat, indices - rows.start * size, columns)
