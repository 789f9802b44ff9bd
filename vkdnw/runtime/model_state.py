"""Leaves a model as it was found, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Parts:
    """A model's modules and parameters, each once, in its order: walking them takes a while."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]

    @classmethod
    def of(cls, model: nn.Module) -> Parts:
        modules = list(model.modules())
        held = (p for module in modules for p in module._parameters.values() if p is not None)
        return cls(modules, list({id(parameter): parameter for parameter in held}.values()))


class State:
    """A model's buffers and ``requires_grad`` flags, as they are when this is made.

    Modes, gradients and hooks are never changed by this package, or undone where they are set.
    Weights are not copied, since nothing writes to them, except those of embeddings with
    ``max_norm``, whose forward rescales rows in place.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parts = parts = Parts.of(model)
        self._flags = [parameter.requires_grad for parameter in parts.parameters]
        self._registered = {
            module: _Registered.of(module) for module in parts.modules if module._buffers
        }
        self._numbers = _numbers(self._registered.values())
        self._rescaled = [
            (module.weight, module.weight.detach().clone())
            for module in parts.modules
            if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
        ]

    def restore(self) -> None:
        """Puts all of it back."""
        for parameter, flag in zip(self.parts.parameters, self._flags, strict=True):
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)
        for module in self.parts.modules:
            if module._buffers or module in self._registered:
                self._registered.get(module, NOTHING).restore(module)
        with torch.no_grad():
            for alike in self._numbers:
                alike.restore()
            for weight, value in self._rescaled:
                weight.copy_(value)


@contextmanager
def preserved(model: nn.Module) -> Iterator[State]:
    """Restores a model's state and the random state on the way out."""
    state = State(model)
    devices = {parameter.device for parameter in state.parts.parameters if parameter.is_cuda}
    with torch.random.fork_rng([device.index for device in devices], device_type="cuda"):
        try:
            yield state
        finally:
            state.restore()


@dataclass(frozen=True)
class _Registered:
    """Which tensors a module holds as buffers, under which names."""

    tensors: dict[str, Tensor | None]
    passing: frozenset[str]  # names of those that are not saved with the model

    @classmethod
    def of(cls, module: nn.Module) -> _Registered:
        return cls(dict(module._buffers.items()), frozenset(module._non_persistent_buffers_set))

    def restore(self, module: nn.Module) -> None:
        """Puts the same tensors back; buffers that were registered since are removed."""
        held = module._buffers  # a dict, or the view of one that scripted modules have
        for name in [name for name in held.keys() if name not in self.tensors]:  # noqa: SIM118
            del held[name]
        for name, buffer in self.tensors.items():
            if held[name] is not buffer:
                held[name] = buffer
        if module._non_persistent_buffers_set != self.passing:
            module._non_persistent_buffers_set = set(self.passing)


NOTHING = _Registered({}, frozenset())


class Numbers:
    """The numbers in tensors of one device and dtype, copied as one and compared as one.

    A network of many small buffers then takes two operations, and a GPU is waited for once.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._shapes = [tensor.shape for tensor in tensors]
        self._copy = _joined(self._tensors)

    def restore(self) -> None:
        """Writes them back into those tensors that hold others, or NaN, now."""
        if torch.equal(_joined(self._tensors), self._copy):
            return
        pieces = self._copy.split([shape.numel() for shape in self._shapes])
        for tensor, shape, piece in zip(self._tensors, self._shapes, pieces, strict=True):
            value = piece.view(shape)
            if tensor.shape != shape or not torch.equal(tensor, value):
                tensor.copy_(value)


def _numbers(registered: Iterable[_Registered]) -> list[Numbers]:
    """The numbers of all buffers; quantised ones, each with a scale of its own, one by one."""
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    alone: list[list[Tensor]] = []
    for buffers in registered:
        for buffer in buffers.tensors.values():
            if buffer is None:
                continue
            if buffer.is_quantized:
                alone.append([buffer])
            else:
                alike.setdefault((buffer.device, buffer.dtype), []).append(buffer)
    return [Numbers(tensors) for tensors in (*alike.values(), *alone)]


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
