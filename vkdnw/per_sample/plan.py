"""From a selection and a trace: the table of everything a chunk has to compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vkdnw.per_sample.capture import CallSite
from vkdnw.per_sample.fold import Fold
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
class Plan:
    """What a chunk computes; ``sites`` are the calls that the picks' layer numbers refer to."""

    columns: int
    sites: tuple[CallSite, ...]
    weight_indices: tuple[Tensor, ...]  # chosen indices of each site's weight (for its channels)
    picks: Tensor  # [Q, 10] int64
    affine: Tensor  # [Q, 2] float64
    dense: tuple[DenseTerm, ...]
    fallback: tuple[FallbackTerm, ...]


def make_plan(selection: Selection, found: Trace, folds: tuple[Fold, ...] = ()) -> Plan:
    """Lays out the columns of ``selection``; unreached parameters keep columns of zeros."""
    sites: dict[CallSite, Tensor] = {}
    tables: list[Tensor] = []
    affines: list[Tensor] = []
    dense: list[DenseTerm] = []
    fallback: list[FallbackTerm] = []
    fold_of = {name: fold for fold in folds for name in (fold.conv, fold.norm)}
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
                picks = _folded_picks(picks, leaf, layer, fold_of.get(site.layer), site)
                number = list(sites).index(site) if site in sites else len(sites)
                if site not in sites or leaf == "weight":
                    sites[site] = indices
                tables.append(_table(picks, number, columns.start))
                affines.append(torch.stack([picks.shift, picks.scale], dim=1))
            else:
                dense.extend(_dense_terms(layer, site, leaf, indices, columns))
    return Plan(
        columns=len(selection),
        sites=tuple(sites),
        weight_indices=tuple(sites.values()),
        picks=torch.cat(tables) if tables else torch.empty(0, 10, dtype=torch.int64),
        affine=torch.cat(affines) if affines else torch.empty(0, 2, dtype=torch.float64),
        dense=tuple(dense),
        fallback=tuple(fallback),
    )


def picks_are_cheaper(layer: Layer, leaf: str, count: int) -> bool:
    """Whether ``count`` scalars of a parameter are picked one by one."""
    size = layer.module._parameters[leaf].numel()  # type: ignore[union-attr]
    return count <= DENSE_COUNT or count < DENSE_SHARE * size


def _table(picks: Picks, layer: int, first_column: int) -> Tensor:
    count = len(picks.grad_channel)
    column = torch.arange(first_column, first_column + count)
    head = torch.stack(
        [column, torch.full_like(column, layer), picks.grad_channel, picks.input_channel], dim=1
    )
    return torch.cat([head, picks.start, picks.step], dim=1)


def _folded_picks(
    picks: Picks, leaf: str, layer: Layer, fold: Fold | None, site: CallSite
) -> Picks:
    """Picks in terms of a folded pair's common output and its gradient."""
    if fold is None:
        return picks
    channel = picks.grad_channel
    if site.layer == fold.conv:
        return replace(picks, scale=picks.scale * fold.scale[channel])
    if leaf == "bias":
        return picks
    weight = layer.module.weight.detach().to("cpu", torch.float64)  # type: ignore[operator, union-attr]
    bias = layer.module.bias.detach().to("cpu", torch.float64)  # type: ignore[operator, union-attr]
    return replace(picks, shift=bias[channel], scale=1 / weight[channel])  # type: ignore[index]


def _dense_terms(
    layer: Layer, site: CallSite, leaf: str, indices: Tensor, columns: slice
) -> Iterator[DenseTerm]:
    parameter = layer.module._parameters[leaf]
    assert parameter is not None
    size = parameter.numel() // parameter.shape[0]
    rows = range(int(indices[0]) // size, int(indices[-1]) // size + 1)
    flat = torch.arange(rows.start * size, rows.stop * size)
    yield DenseTerm(site, leaf, rows, flat, indices - rows.start * size, columns)
