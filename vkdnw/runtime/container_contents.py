"""The contents of containers, objects and generators that a model holds, noted and put back.

Contents are noted as references and compared by identity. This takes no memory, and a fraction of a
millisecond for a network of hundreds of modules. For numbers in tensors see
:mod:`vkdnw.runtime.tensor_bits`.
"""

from __future__ import annotations

import random
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor

from vkdnw.runtime.reachable import Container, Reached, content, slots

_OURS = frozenset({"forward"})
"""Attributes that this package adds to modules for the length of a call."""


class Contents:
    """The contents of everything that a model holds, at the time this is made."""

    def __init__(self, reached: Reached) -> None:
        self._kinds = [(module, type(module)) for module in reached.modules]
        self._containers = _Containers(reached.containers)
        self._shared = _Containers(reached.shared)
        self._all_hooks = reached.hooks
        self._hooked = {id(hooks): dict(hooks) for hooks in reached.hooks if hooks}
        self._bindings = [
            *(_cell(cell) for cell in reached.cells),
            *(_global(known, name) for known, name in reached.globals),
            *(_class(kind) for kind in reached.classes),
        ]
        self._others = [
            *(_slotted(value) for value in reached.slotted),
            *(_array(value) for value in reached.arrays if not value.dtype.hasobject),
            *(_cached_function(value) for value in reached.cached_functions),
        ]
        self._generators = [(type(value), _generator(value)) for value in reached.generators]

    def rewind(self) -> bool:
        """Undoes the changes of a forward pass; says whether there were any.

        Hooks stay, and so do this package's own additions to modules during a call.
        """
        changed = not self._containers.same() and self._containers.restore(keep=_OURS)
        if not self._shared.same():
            changed |= self._shared.restore(only_graphs=True)
        for binding in self._bindings:
            changed |= binding.restore(only_graphs=True)
        for other in (*self._others, *(generator for _, generator in self._generators)):
            changed |= other.restore()
        return changed

    def moved_generators(self) -> list[tuple[str, Any]]:
        """Generators of random numbers whose state has changed: their kind, and where they are."""
        return [
            (f"{kind.__module__.removesuffix('._C')}.{kind.__qualname__}", _flat(generator.read()))
            for kind, generator in self._generators
            if not generator.same(generator.read(), generator.before)
        ]

    def restore(self) -> None:
        """Puts all of it back.

        Of shared objects (those that hooks and closures refer to, classes, globals) only that
        in which a pass has left a tensor with its graph: a hook's counter belongs to the caller.
        """
        for module, kind in self._kinds:
            if type(module) is not kind:
                module.__class__ = kind
        for hooks in self._all_hooks:
            if hooks or id(hooks) in self._hooked:
                _fill_dict(hooks, self._hooked.get(id(hooks), {}), frozenset())
        self.rewind()
        if not self._containers.same(keys=True):
            self._containers.restore()


class _Containers:
    """Dicts, lists and sets. All are compared at once, in C."""

    def __init__(self, containers: list[Container]) -> None:
        self._empty = [each for each in containers if not each]
        self._dicts = [each for each in containers if each and isinstance(each, dict)]
        self._others = [each for each in containers if each and not isinstance(each, dict)]
        self._keys = [(*each,) for each in self._dicts]
        self._values = [(*each.values(),) for each in self._dicts]
        self._items = [(*each,) for each in self._others]
        self._flat = [*chain.from_iterable(self._values), *chain.from_iterable(self._items)]
        self._flat_keys = [*chain.from_iterable(self._keys)]
        self._sizes = [*map(len, self._values), *map(len, self._items)]

    def same(self, *, keys: bool = False) -> bool:
        """Whether they hold the same objects as before, and under the same keys."""
        values = chain.from_iterable(each.values() for each in self._dicts)
        now = chain(values, chain.from_iterable(self._others))
        sizes = map(len, chain(self._dicts, self._others))
        return (
            not any(self._empty)
            and all(map(int.__eq__, sizes, self._sizes))
            and all(map(is_, now, self._flat))
            and (not keys or all(map(is_, chain.from_iterable(self._dicts), self._flat_keys)))
        )

    def restore(self, keep: frozenset[str] = frozenset(), *, only_graphs: bool = False) -> bool:
        """Puts back the contents of those that differ; says whether one did.

        Args:
            keep: keys that may have been added.
            only_graphs: puts back only those into which a tensor with a graph has come.
        """
        changed = False
        for empty in self._empty:
            if empty and (not only_graphs or holds_graph(empty)):
                empty.clear()
                changed = True
        for held, keys, values in zip(self._dicts, self._keys, self._values, strict=True):
            if _alike(tuple(held), keys) and _alike(tuple(held.values()), values):
                continue
            if not only_graphs or _has_new_graph(held.values(), values):
                changed |= _fill_dict(held, dict(zip(keys, values, strict=True)), keep)
        for other, items in zip(self._others, self._items, strict=True):
            if not _alike(tuple(other), items) and (
                not only_graphs or _has_new_graph(other, items)
            ):
                changed = True
                other.clear()
                (other.update if isinstance(other, set) else other.extend)(items)
        return changed


def _alike(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return len(left) == len(right) and all(map(is_, left, right))


def _fill_dict(held: dict[Any, Any], before: dict[Any, Any], keep: frozenset[str]) -> bool:
    """Only differences are written: another thread may be reading a module's attributes."""
    kind: Any = OrderedDict if isinstance(held, OrderedDict) else dict
    added = [key for key in held if key not in before and key not in keep]
    moved = [key for key in before if key not in held or held[key] is not before[key]]
    for key in added:
        kind.__delitem__(held, key)
    for key in moved:
        kind.__setitem__(held, key, before[key])
    if [key for key in held if key in before] != list(before):
        kept = {key: value for key, value in held.items() if key not in before}
        kind.clear(held)
        kind.update(held, before | kept)
        return True
    return bool(added or moved)


def holds_graph(value: Any) -> bool:
    """Whether it is a tensor with an autograd graph, or a container of one."""
    if isinstance(value, Tensor):
        return value.grad_fn is not None
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set | deque):
        return False
    return any(isinstance(item, Tensor) and item.grad_fn is not None for item in value)


def _has_new_graph(now: Iterable[Any], before: tuple[Any, ...]) -> bool:
    known = {id(value) for value in before}
    return any(id(value) not in known and holds_graph(value) for value in now)


@dataclass(frozen=True)
class _Noted:
    """State that is read as one value and written as one."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    before: Any
    same: Callable[[Any, Any], bool] = is_

    def restore(self, *, only_graphs: bool = False) -> bool:
        """Writes it back where it differs; says whether it did."""
        now = self.read()
        if self.same(now, self.before) or (only_graphs and not holds_graph(now)):
            return False
        self.write(self.before)
        return True


def _cell(cell: types.CellType) -> _Noted:
    def write(value: Any) -> None:
        cell.cell_contents = value

    return _Noted(lambda: content(cell), write, content(cell))


def _global(known: dict[str, Any], name: str) -> _Noted:
    def write(value: Any) -> None:
        known[name] = value

    return _Noted(lambda: known.get(name), write, known.get(name))


def _class(kind: type) -> _Noted:
    """The attributes of a class, as a dict. Of added attributes, those with a graph are removed."""

    def read() -> dict[str, Any]:
        return {name: value for name, value in vars(kind).items() if _is_data(name, value)}

    def write(before: dict[str, Any]) -> None:
        for name, value in read().items():
            if name in before and value is not before[name]:
                setattr(kind, name, before[name])
            elif name not in before and holds_graph(value):
                delattr(kind, name)

    def same(now: dict[str, Any], before: dict[str, Any]) -> bool:
        return _alike(tuple(now.values()), tuple(before.values()))

    return _Noted(read, write, read(), same)


def _is_data(name: str, value: Any) -> bool:
    return not (name.startswith("__") or callable(value)) and not hasattr(value, "__get__")


def _slotted(value: Any) -> _Noted:
    names = slots(type(value))
    empty = object()

    def read() -> tuple[Any, ...]:
        return tuple(getattr(value, name, empty) for name in names)

    def write(before: tuple[Any, ...]) -> None:
        for name, item in zip(names, before, strict=True):
            if item is not empty:
                object.__setattr__(value, name, item)
            elif hasattr(value, name):
                object.__delattr__(value, name)

    return _Noted(read, write, read(), _alike)


def _array(array: Any) -> _Noted:
    def write(before: bytes) -> None:
        import numpy as np  # here: a model without arrays needs none

        array[...] = np.frombuffer(before, array.dtype).reshape(array.shape)

    return _Noted(array.tobytes, write, array.tobytes(), lambda now, before: bool(now == before))


def _cached_function(function: Any) -> _Noted:
    """A cached function of ``functools``: entries that a pass added may have a graph.

    The cache can only be cleared as a whole, and is expected to be empty from then on.
    """

    def size() -> int:
        return int(function.cache_info().currsize)

    expected = [size()]

    def empty(_: Any) -> None:
        function.cache_clear()
        expected[0] = 0

    return _Noted(size, empty, None, lambda now, _: bool(now == expected[0]))


def _generator(generator: Any) -> _Noted:
    """A generator of random numbers: of torch, of Python, or of numpy, old or new."""
    if isinstance(generator, torch.Generator):
        return _Noted(generator.get_state, generator.set_state, generator.get_state(), torch.equal)
    if isinstance(generator, random.Random):
        return _Noted(generator.getstate, generator.setstate, generator.getstate(), _equal)
    if hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        return _Noted(
            lambda: bits.state, lambda before: setattr(bits, "state", before), bits.state, _in_text
        )
    return _Noted(generator.get_state, generator.set_state, generator.get_state(), _in_text)


def _equal(now: Any, before: Any) -> bool:
    return bool(now == before)


def _in_text(now: Any, before: Any) -> bool:
    """For states of numpy that hold arrays: those compare element by element."""
    return bool(_flat(now) == _flat(before))


def _flat(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _flat(value) for key, value in state.items()}
    if isinstance(state, tuple):
        return tuple(_flat(value) for value in state)
    if isinstance(state, Tensor):
        return state.numpy().tobytes()
    return state.tobytes() if hasattr(state, "tobytes") else state
