"""Leaves a model as it was found, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Restores buffers, ``requires_grad`` flags and the random state on the way out.

    Modes, gradients and hooks are never changed by this package, or undone where they are set.
    Weights are not copied, since nothing writes to them, except those of embeddings with
    ``max_norm``, whose forward rescales rows in place.
    """
    modules, parameters = list(model.modules()), list(model.parameters())  # slow to walk
    flags = [(parameter, parameter.requires_grad) for parameter in parameters]
    buffers = [_Buffers(module) for module in modules]
    rescaled = [
        (module.weight, module.weight.detach().clone())
        for module in modules
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]
    devices = {parameter.device for parameter in parameters if parameter.is_cuda}
    with torch.random.fork_rng([device.index for device in devices], device_type="cuda"):
        try:
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            intact = _intact_on_devices(buffers)
            for held in buffers:
                held.restore(intact)
            with torch.no_grad():
                for weight, value in rescaled:
                    weight.copy_(value)


class _Buffers:
    """A module's buffers: which tensors it holds under which names, and the values in them."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._tensors = dict(module._buffers.items())
        self._values = {
            name: buffer.detach().clone()
            for name, buffer in module._buffers.items()
            if buffer is not None
        }
        self._passing = set(module._non_persistent_buffers_set)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every buffer that there was, and the values it had."""
        for name, value in self._values.items():
            buffer = self._tensors[name]
            if buffer is not None:
                yield buffer.detach(), value

    def restore(self, intact: frozenset[torch.device]) -> None:
        """Puts them back; buffers that were registered since are removed.

        What lies on an ``intact`` device is known to hold its values still.
        """
        held = self._module._buffers  # a dict, or the view of one that scripted modules have
        for name in [name for name in held.keys() if name not in self._tensors]:  # noqa: SIM118
            del held[name]
        for name, buffer in self._tensors.items():
            if held[name] is not buffer:
                held[name] = buffer
        if self._module._non_persistent_buffers_set != self._passing:
            self._module._non_persistent_buffers_set = set(self._passing)
        with torch.no_grad():
            for name, value in self._values.items():
                buffer = self._tensors[name]
                if buffer is None or buffer.device in intact:
                    continue
                if not _same(buffer, value):
                    buffer.copy_(value)


def _intact_on_devices(buffers: list[_Buffers]) -> frozenset[torch.device]:
    """Devices but the CPU on which every buffer has its values still: each is waited for once."""
    there: dict[torch.device, list[tuple[Tensor, Tensor]]] = {}
    for buffer, value in (pair for held in buffers for pair in held.pairs()):
        if buffer.device.type != "cpu":
            there.setdefault(buffer.device, []).append((buffer, value))
    return frozenset(device for device, pairs in there.items() if all_same(pairs))


def all_same(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether all pairs hold the same numbers, asked once for each dtype."""
    alike: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for left, right in pairs:
        lefts, rights = alike.setdefault(left.dtype, ([], []))
        lefts.append(left.flatten())
        rights.append(right.flatten())
    return all(torch.equal(torch.cat(a), torch.cat(b)) for a, b in alike.values())


def _same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and bool(torch.equal(left, right))
