"""Keeps the state of a model and restores it, also after an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vkdnw.runtime.container_contents import Contents
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.runtime.members import Unwritten
from vkdnw.runtime.random_state import random_state_kept
from vkdnw.runtime.reachable import reachable
from vkdnw.runtime.tensor_state import TensorState


@dataclass(frozen=True)
class Parts:
    """A model's modules and parameters, each once, in its order: listing them takes time."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]

    @classmethod
    def of(cls, model: nn.Module) -> Parts:
        modules = list(model.modules())
        held = (p for module in modules for p in module._parameters.values() if p is not None)
        return cls(modules, list({id(parameter): parameter for parameter in held}.values()))


_LOOKS = 2


class State:
    """A model as it is when this is made: weights, buffers, gradients, flags, hooks, attributes.

    Tensors, lists, dicts and plain objects are found wherever the model's modules hold them
    (:mod:`vkdnw.runtime.reachable`). Numbers are copied, and everything else is noted by reference.
    Parts that no forward pass writes to are not copied; only torch's counters of writes are
    compared.
    """

    @gc_disabled()  # thousands of small objects, all of them in use
    def __init__(
        self, model: nn.Module, room: int = 2**62, unwritten: Unwritten | None = None
    ) -> None:
        """``room`` bounds the copies, in bytes; without it, :meth:`restore` refuses a model
        that has overwritten its weights."""
        self._model = model
        self.unwritten = unwritten
        reached = reachable(model, unwritten)
        self._scripted = [
            (module, _Registered.of(module))
            for module in reached.modules
            if isinstance(module, torch.jit.ScriptModule)
        ]
        fixed = {} if unwritten is None else unwritten.tensors
        held = [*reached.tensors, *((tensor, name) for name, tensor in fixed.items())]
        self.devices = {tensor.device for tensor, _ in held}
        self._tensors = TensorState(reached.tensors, room, fixed)
        self._contents = Contents(reached)
        self._looks = 0  # comparisons of all numbers
        self._writes = False
        self.kept_graphs = tuple(str(path) for tensor, path in held if tensor.grad_fn is not None)
        """Where the model holds tensors with an autograd graph, from an earlier pass of the
        caller's. A pass may make values of them that lead back through that graph, and a backward
        pass that frees it would leave the caller none."""

    @cached_property
    def parts(self) -> Parts:
        """The model's registered modules and parameters."""
        return Parts.of(self._model)

    @property
    def writes(self) -> bool:
        """Whether a pass before the last :meth:`rewind` changed numbers of the model."""
        return self._writes

    def rewind(self) -> bool:
        """Restores the model before the next forward pass; returns whether a pass changed it.

        To be called before a forward pass, while no other thread runs the model. Caches are empty
        again, so no tensor with the graph of an earlier pass is used again; counters, masks and
        weights that forward() writes have their values again. This package's own changes for the
        length of a call stay: hooks, ``requires_grad``, the forwards of layers that it computes
        together.

        All numbers are compared the first two times, before any pass and after one. After that
        only those are for which torch recorded a write or an earlier comparison found one. For the
        427 modules of a NAS-Bench-201 network it takes 0.4 ms, and 2 where all are compared.
        """
        torch.clear_autocast_cache()
        parametrize._cache.clear()
        changed = self._contents.rewind()
        if self._looks < _LOOKS or self._writes or self._tensors.written():
            self._looks += 1
            wrote = self._tensors.restore_numbers()
            self._writes |= wrote
            changed |= wrote
        for module, registered in self._scripted:
            registered.restore(module)
        return changed

    def moved_generators(self) -> list[tuple[str, Any]]:
        """Generators of the model whose state has changed: their kind, and their place."""
        return self._contents.moved_generators()

    def restore(self) -> None:
        """Puts all of it back.

        Raises:
            ValueError: the model has overwritten a tensor that there was no room to copy.
        """
        self._contents.restore()
        for module, registered in self._scripted:
            registered.restore(module)
        self._tensors.restore()


@contextmanager
def preserved(
    model: nn.Module, room: int = 2**62, unwritten: Unwritten | None = None
) -> Iterator[State]:
    """Restores a model's state and the random state on the way out; arguments as for State."""
    with _no_cached_weights():
        state = State(model, room, unwritten)
        with random_state_kept(state.devices):
            try:
                yield state
            finally:
                state.restore()


@contextmanager
def _no_cached_weights() -> Iterator[None]:
    """Leaves the caller's ``parametrize.cached()``: its tensors have the caller's graphs."""
    cached = dict(parametrize._cache)
    parametrize._cache.clear()
    try:
        yield
    finally:
        parametrize._cache.clear()
        parametrize._cache.update(cached)


@dataclass(frozen=True)
class _Registered:
    """The tensors that a scripted module holds as buffers, which Python cannot reach.

    Python can reach the methods that were called.
    """

    tensors: dict[str, Tensor | None]
    attributes: frozenset[str]

    @classmethod
    def of(cls, module: nn.Module) -> _Registered:
        return cls(dict(module._buffers.items()), frozenset(vars(module)))

    def restore(self, module: nn.Module) -> None:
        """Puts the same tensors back."""
        held = module._buffers  # the view of a dict
        for name, buffer in self.tensors.items():
            if held[name] is not buffer:
                held[name] = buffer
        for name in vars(module).keys() - self.attributes:
            del vars(module)[name]
