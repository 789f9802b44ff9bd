"""First tangents: derivatives of a layer's output with respect to single parameter scalars.

A rule gives the derivative of a loss with respect to a scalar as a correlation of the layer's
input with the gradient ``g`` of its output (:mod:`vkdnw.rules.rule`). The derivative of the output
itself is the factor of ``g`` there: in one channel, a shifted and strided channel of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.per_sample.capture import CallSite, Record
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.rules import Picks


@dataclass(frozen=True)
class Moved:
    """Chosen scalars of one leaf of a layer, and their places in a vector of coefficients."""

    site: CallSite
    leaf: str
    indices: Tensor  # [q] flat, ascending
    slots: Tensor  # [q]


@dataclass(frozen=True)
class FirstTangents:
    """``d output / d scalar`` at a layer call, for ``q`` scalars."""

    slots: Tensor  # [q]
    maps: Tensor  # [q, *output shape], channels last in memory where ``channels_last``
    channels_last: bool

    def times(self, coefficients: Tensor) -> Tensor:
        """The change of the output, to first order, for coefficients of all slots."""
        change: Tensor = torch.tensordot(coefficients[self.slots], self.maps, dims=1)
        return change.movedim(-1, 1) if self.channels_last else change


def first_tangents(
    trace: Trace, moved: list[Moved], record: Record, scale: Tensor | None
) -> FirstTangents:
    """The tangents of all scalars moved in one layer call.

    Args:
        record: of that call.
        scale: ``[C]`` float64, of a BatchNorm that the convolution has been given to compute.
    """
    layer = trace.layers[moved[0].site.layer]
    rows = trace.rows[moved[0].site]
    output = record.output
    slots = torch.cat([part.slots for part in moved])
    channels_last = output.dim() == 4 and output.is_contiguous(memory_format=torch.channels_last)
    shape = (len(slots), *output.shape)
    if channels_last:
        shape = (len(slots), output.shape[0], *output.shape[2:], output.shape[1])
    maps = torch.zeros(shape, dtype=output.dtype, device=record.input.device)
    by_output = maps.movedim(-1, 2) if channels_last else maps  # [q, b * r, ...]
    canonical = layer.rule.gradient(layer.module, by_output.unflatten(1, (-1, rows)))
    assert canonical.untyped_storage().data_ptr() == maps.untyped_storage().data_ptr()
    first = 0
    for part in moved:
        by_sample = record.input.detach().unflatten(0, (-1, rows))
        picks = layer.rule.picks(layer.module, part.leaf, part.indices)
        x = layer.rule.channels(layer.module, "weight", by_sample, part.indices)
        for row in range(len(part.indices)):
            place = int(picks.grad_channel[row])
            factor = float(picks.scale[row]) * (1.0 if scale is None else float(scale[place]))
            _write(canonical[first + row, :, place], x, picks, row, factor)
        first += len(part.indices)
    return FirstTangents(slots.to(maps.device), maps, channels_last)


def _write(target: Tensor, x: Tensor, picks: Picks, row: int, factor: float) -> None:
    """Writes one scalar's ``factor * (x - shift)`` to ``[b, G1, G2, G3]``, zero outside of x."""
    channel = int(picks.input_channel[row])
    if channel < 0:
        target.fill_(factor)
        return
    source = x[:, channel]
    for axis in range(3):
        start, step = int(picks.start[row, axis]), int(picks.step[row, axis])
        first = max(0, -(start // step))  # the first output position whose input is there
        last = min(target.shape[axis + 1], (source.shape[axis + 1] - 1 - start) // step + 1)
        count = max(0, last - first)
        target = target.narrow(axis + 1, min(first, target.shape[axis + 1]), count)
        begin = min(start + step * first, source.shape[axis + 1])
        source = source.narrow(axis + 1, begin, max(0, step * (count - 1) + 1) if count else 0)
        source = source[(slice(None),) * (axis + 1) + (slice(None, None, step),)]
    target.copy_((source - float(picks.shift[row])) * factor)
