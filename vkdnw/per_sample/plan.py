"""From a selection and a trace: the table of everything a chunk has to compute."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vkdnw.per_sample.capture import CallSite
from vkdnw.per_sample.fusion.find import Fusion
from vkdnw.per_sample.probing.trace import Trace, TracedLayer
from vkdnw.rules import Picks
from vkdnw.rules.rule import pointwise_picks
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
    """The columns that a chunk computes."""

    columns: int
    entries: tuple[Entry, ...]
    picks: Tensor  # [Q, 10] int64; layer numbers count entries, channels those kept of an entry
    affine: Tensor  # [Q, 2] float64
    dense: tuple[DenseTerm, ...]
    fallback: tuple[FallbackTerm, ...]
    fused: frozenset[str]  # layers whose own parameters do not enter the graph
    sinks: dict[str, tuple[int, ...]]  # native convolution -> entries that read its gradient


def make_plan(selection: Selection, trace: Trace, fusions: tuple[Fusion, ...] = ()) -> Plan:
    """Lays out the columns of ``selection``; unreached parameters keep columns of zeros."""
    picked: dict[CallSite, list[_Picked]] = {}
    dense: list[DenseTerm] = []
    fallback: list[FallbackTerm] = []
    fusion_of = _by_layer(fusions)
    for name, indices, offset, count in zip(
        selection.names, selection.indices, selection.offsets, selection.counts, strict=True
    ):
        columns = slice(offset, offset + count)
        if name in trace.fallback:
            fallback.append(FallbackTerm(name, indices, columns))
        for site, leaf in trace.terms.get(name, ()):
            layer = trace.layers[site.layer]
            if picks_are_cheaper(layer, leaf, count):
                picks = _picks(layer, leaf, indices, fusion_of.get(site.layer), site)
                picked.setdefault(site, []).append(_Picked(leaf, indices, offset, picks))
            else:
                dense.append(_dense_term(layer, site, leaf, indices, columns))
    entries, table, affine = _tables(picked, fusions)
    return Plan(
        columns=len(selection),
        entries=entries,
        picks=table,
        affine=affine,
        dense=tuple(dense),
        fallback=tuple(fallback),
        fused=frozenset(fusion_of),
        sinks=_sinks(fusions, entries),
    )


@dataclass(frozen=True)
class _Picked:
    """Scalars of one parameter that are picked in one layer call."""

    leaf: str
    indices: Tensor
    first_column: int
    picks: Picks


def _tables(
    picked: dict[CallSite, list[_Picked]], fusions: tuple[Fusion, ...]
) -> tuple[tuple[Entry, ...], Tensor, Tensor]:
    """The entries, and the rows ``[Q, 10]`` and ``[Q, 2]`` of all picks in the native op's tables.

    All layers' picks are laid out together: there are hundreds of layers with one or two rows each.
    """
    parts = [(number, part) for number, at in enumerate(picked.values()) for part in at]
    if not parts:
        return (), torch.empty(0, 10, device="cpu").long(), torch.empty(0, 2, device="cpu").double()
    counts = torch.tensor([part.indices.shape[0] for _, part in parts], device="cpu")
    number = torch.tensor([number for number, _ in parts], device="cpu").repeat_interleave(counts)
    first = torch.tensor([part.first_column for _, part in parts], device="cpu")
    before = counts.cumsum(0) - counts  # rows of the parts above
    column = (first - before).repeat_interleave(counts) + torch.arange(len(number), device="cpu")
    grad_channel, input_channel, start, step, shift, scale = (
        torch.cat([getattr(part.picks, field.name) for _, part in parts]) for field in fields(Picks)
    )
    sharing = _sharing(tuple(picked), fusions)
    grad_channels, grad_place = _kept(sharing[number], grad_channel, len(picked))
    input_channels, input_place = _kept(number, input_channel, len(picked))
    entries = tuple(
        Entry(site, _weight_indices(at), input_channels[i], grad_channels[int(sharing[i])])
        for i, (site, at) in enumerate(picked.items())
    )
    head = torch.stack([column, number, grad_place, input_place], dim=1)
    return entries, torch.cat([head, start, step], dim=1), torch.stack([shift, scale], dim=1)


def _weight_indices(parts: list[_Picked]) -> Tensor:
    of_weight = [part.indices for part in parts if part.leaf == "weight"]
    return of_weight[0] if of_weight else torch.zeros(1, dtype=torch.int64, device="cpu")


def _sharing(sites: tuple[CallSite, ...], fusions: tuple[Fusion, ...]) -> Tensor:
    """By entry, the one with whose picks it keeps gradient channels: a convolution and the
    BatchNorm folded into it keep the same."""
    place = {site.layer: number for number, site in enumerate(sites)}
    sharing = list(range(len(sites)))
    for fusion in fusions:
        if fusion.norm is not None and {fusion.conv, fusion.norm.name} <= place.keys():
            sharing[place[fusion.norm.name]] = place[fusion.conv]
    return torch.tensor(sharing, device="cpu")


_MOST_CHANNELS = 2**32


def _kept(group: Tensor, channel: Tensor, groups: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """The distinct channels of each group, ascending, and the place of each pick's among them.

    A channel of ones (-1) is not kept, and stays -1.
    """
    named = channel >= 0
    keys = group * _MOST_CHANNELS + channel
    distinct = torch.unique(keys[named])  # by group
    sizes = torch.bincount(distinct // _MOST_CHANNELS, minlength=groups)
    first = sizes.cumsum(0) - sizes
    place = torch.where(named, torch.searchsorted(distinct, keys) - first[group], channel)
    return (distinct % _MOST_CHANNELS).split(sizes.tolist()), place


def _sinks(fusions: tuple[Fusion, ...], entries: tuple[Entry, ...]) -> dict[str, tuple[int, ...]]:
    """Entries whose output gradient passes through a native convolution's backward."""
    number = {entry.site.layer: position for position, entry in enumerate(entries)}
    sinks = {}
    for fusion in fusions:
        sharing = (fusion.conv, *([fusion.norm.name] if fusion.norm is not None else []))
        readers = tuple(number[layer] for layer in sharing if layer in number)
        if fusion.gradient is not None and readers:
            sinks[fusion.conv] = readers
    return sinks


def picks_are_cheaper(layer: TracedLayer, leaf: str, count: int) -> bool:
    """Whether ``count`` scalars of a parameter are picked one by one."""
    size = layer.module._parameters[leaf].numel()  # type: ignore[union-attr]
    return count <= DENSE_COUNT or count < DENSE_SHARE * size


def _by_layer(fusions: tuple[Fusion, ...]) -> dict[str, Fusion]:
    """The fusion that a convolution or a folded BatchNorm is part of."""
    by_layer = {fusion.conv: fusion for fusion in fusions}
    by_layer.update({fusion.norm.name: fusion for fusion in fusions if fusion.norm is not None})
    return by_layer


def _picks(
    layer: TracedLayer, leaf: str, indices: Tensor, fusion: Fusion | None, site: CallSite
) -> Picks:
    """Picks of a layer; of a folded pair in terms of their common output and its gradient."""
    norm = None if fusion is None else fusion.norm
    if norm is not None and site.layer == norm.name and leaf == "weight":
        scale = 1 / norm.weight[indices]
        return pointwise_picks(indices, ones=False, shift=norm.bias[indices], scale=scale)
    picks = layer.rule.picks(layer.module, leaf, indices)
    if norm is None or site.layer == norm.name:
        return picks
    return replace(picks, scale=picks.scale * norm.scale[picks.grad_channel])


def _dense_term(
    layer: TracedLayer, site: CallSite, leaf: str, indices: Tensor, columns: slice
) -> DenseTerm:
    parameter = layer.module._parameters[leaf]
    assert parameter is not None
    size = parameter.numel() // parameter.shape[0]
    rows = range(int(indices[0]) // size, int(indices[-1]) // size + 1)
    flat = torch.arange(rows.start * size, rows.stop * size, device="cpu")
    return DenseTerm(site, leaf, rows, flat, indices - rows.start * size, columns)
