"""Finds the objects of a model: tensors, containers, objects, and generators of random numbers.

A model may keep features, caches and counters in any place that Python allows: in attributes of its
modules, in lists and dicts there, in plain objects that modules refer to, in values that the
closure of a hook holds, in a class, in a global. All of it is found by following references.
"""

from __future__ import annotations

import random
import sys
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from dis import opmap
from functools import _lru_cache_wrapper, partial
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor, nn

from vkdnw.runtime.members import Unwritten

MOST_OBJECTS = 1_000_000
"""A limit: with more objects, nothing more is followed. They are a program's data, not a cache."""

ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis), type}
    | {torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size}
    | {types.BuiltinFunctionType, types.ModuleType, types.CodeType, property}
)
"""Types whose values cannot change."""

HOOKS = frozenset(name for name in vars(nn.Module()) if "hooks" in name)
"""Attributes of modules that hold hooks."""

_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})
_BUILT_IN = frozenset({dict, OrderedDict, list, set})

_STATELESS = frozenset({"torch", "torchvision", "numpy", "vkdnw", *sys.stdlib_module_names})
"""Packages whose classes and globals keep nothing between two forward passes."""

_HANDLES = _STATELESS - {"collections", "types", "torch", "torchvision"} | {
    "mpmath",
    "sympy",
    "tqdm",
}
"""Packages whose objects are files, locks, loggers: nothing that a forward pass computes."""

_TORCH_HANDLES = (
    *("torch._", "torch.cuda", "torch.distributed", "torch.export", "torch.fx", "torch.jit"),
    *("torch.optim", "torch.profiler", "torch.utils.data", "torch.utils.hooks"),
)


@dataclass(frozen=True)
class Path:
    """How an object is reached from a model; spelled out for messages only."""

    before: Path | None
    step: str

    def __str__(self) -> str:
        return f"{self.before or ''}{self.step}".removeprefix(".")


Container = dict[Any, Any] | list[Any] | deque[Any] | set[Any]


@dataclass
class Reached:
    """Everything that a model holds, each once.

    Objects reached through hooks, closures, classes and globals may belong to other code as well as
    to the model; they are listed as shared.
    """

    modules: list[nn.Module] = field(default_factory=list)
    tensors: list[tuple[Tensor, Path | None]] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)  # vars() of objects among them
    slotted: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)  # of numpy
    generators: list[Any] = field(default_factory=list)
    cached_functions: list[Any] = field(default_factory=list)  # functools.cache, lru_cache
    hooks: list[dict[Any, Any]] = field(default_factory=list)
    shared: list[Container] = field(default_factory=list)
    cells: list[types.CellType] = field(default_factory=list)
    globals: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    classes: list[type] = field(default_factory=list)


def reachable(model: nn.Module, unwritten: Unwritten | None = None) -> Reached:
    """Everything that ``model`` holds, but for parts that no forward pass writes to."""
    walk = _Walk()
    if unwritten is None:
        walk.follow([model])
    else:
        walk.leave_out([*unwritten.modules, *unwritten.tensors.values()])
        walk.follow(unwritten.others)
    return walk.found


class _Walk:
    """Follows references: first those of the model's own attributes, then shared ones."""

    def __init__(self) -> None:
        self.found = Reached()
        self._seen: set[int] = set()
        self._own: list[tuple[Any, Path | None]] = []
        self._shared: list[tuple[Any, Path | None]] = []
        self._is_shared = False

    def leave_out(self, objects: Iterable[Any]) -> None:
        """Takes objects for known, and what they refer to with them."""
        self._seen.update(map(id, objects))

    def follow(self, modules: Iterable[nn.Module]) -> None:
        """Visits everything that can be reached."""
        for module in modules:
            self._push(module, None)
        while self._own and len(self._seen) < MOST_OBJECTS:
            self._visit(*self._own.pop())
        self._is_shared = True
        while self._shared and len(self._seen) < MOST_OBJECTS:
            value, path = self._shared.pop()
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._visit(value, path)

    def _push(self, value: Any, path: Path | None) -> None:
        if type(value) in ATOMS or id(value) in self._seen:
            return
        if self._is_shared:
            self._shared.append((value, path))
        else:
            self._seen.add(id(value))
            self._own.append((value, path))

    def _push_shared(self, value: Any, path: Path | None) -> None:
        if type(value) not in ATOMS:
            self._shared.append((value, path))

    def _visit(self, value: Any, path: Path | None) -> None:
        if isinstance(value, nn.Module):
            self._module(value, path)
        elif isinstance(value, Tensor):
            self.found.tensors.append((value, path))
            if vars(value):
                self._items(vars(value), path, attributes=True)
            else:
                self._container(vars(value))
        elif isinstance(value, dict):
            self._items(value, path)
        elif isinstance(value, list | deque | tuple | set | frozenset):
            if not isinstance(value, tuple | frozenset):
                self._container(value)
            for place, item in enumerate(value):
                if type(item) not in ATOMS:
                    self._push(item, Path(path, f"[{place}]"))
        elif isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.MethodType):
            self._push(value.__self__, path)
            self._push(value.__func__, path)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self._push(part, path)
        elif isinstance(value, WeakKeyDictionary | WeakValueDictionary):
            self._push(vars(value)["data"], path)
        elif isinstance(value, _lru_cache_wrapper):
            self.found.cached_functions.append(value)
            self._push(value.__wrapped__, path)
        elif not isinstance(value, type):
            self._object(value, path)

    def _container(self, value: Container) -> None:
        (self.found.shared if self._is_shared else self.found.containers).append(value)

    def _module(self, module: nn.Module, path: Path | None) -> None:
        self.found.modules.append(module)
        if isinstance(module, torch.jit.ScriptModule):  # Python cannot read its attributes
            self._scripted(module, path)
            return
        held = vars(module)
        self._container(held)
        for name, value in held.items():
            kind = type(value)
            if kind in ATOMS:
                continue
            if name in HOOKS:
                self.found.hooks.append(value)
                for hook in value.values():
                    self._push_shared(hook, path)
            elif kind in _BUILT_IN and not value:  # the usual case in a network of small modules
                self._container(value)
            elif name in _REGISTERED:
                self._items(value, path, attributes=True)
            else:
                self._push(value, Path(path, f".{name}"))
        if id(type(module)) not in self._seen:
            self._class(type(module), path)

    def _scripted(self, module: nn.Module, path: Path | None) -> None:
        for held in (module._parameters, module._buffers, module._modules):
            for name, value in held.items():
                self._push(value, Path(path, f".{name}"))
        self._push(vars(module).get("_actual_script_module"), path)  # of a traced one

    def _items(self, held: dict[Any, Any], path: Path | None, *, attributes: bool = False) -> None:
        self._container(held)
        for key, value in held.items():
            if type(value) not in ATOMS:
                self._push(value, Path(path, f".{key}" if attributes else f"[{key!r}]"))

    def _object(self, value: Any, path: Path | None) -> None:
        kind = type(value)
        if isinstance(value, torch.Generator | random.Random) or _is_numpy(value, "random"):
            self.found.generators.append(value)
        elif _is_numpy(value, "ndarray"):
            self.found.arrays.append(value)
        elif isinstance(value, threading.local) or not _is_handle(kind.__module__):
            if hasattr(value, "__dict__"):
                self._items(vars(value), path, attributes=True)
            names = slots(kind)
            if names:
                self.found.slotted.append(value)
                for name in names:
                    self._push(getattr(value, name, None), Path(path, f".{name}"))
            self._class(kind, path)

    def _function(self, function: types.FunctionType, path: Path | None) -> None:
        for cell in function.__closure__ or ():
            if id(cell) not in self._seen:
                self._seen.add(id(cell))
                self.found.cells.append(cell)
                self._push_shared(content(cell), path)
        for value in (function.__defaults__, function.__kwdefaults__, vars(function)):
            self._push_shared(value or None, path)
        self._globals(function)

    def _class(self, kind: type, path: Path | None) -> None:
        for each in kind.__mro__:
            if id(each) in self._seen:
                continue
            self._seen.add(id(each))
            if _root(each.__module__) in _STATELESS:
                continue
            self.found.classes.append(each)
            for value in vars(each).values():
                inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
                self._push_shared(inner, Path(path, f" (class {each.__name__})"))

    def _globals(self, function: types.FunctionType) -> None:
        """Globals that a function reads or assigns; those of packages that keep nothing are not
        looked at."""
        known = function.__globals__
        if _root(known.get("__name__", "")) in _STATELESS:
            return
        for code in _codes(function.__code__):
            assigns = opmap["STORE_GLOBAL"] in code.co_code[::2]
            for name in code.co_names:
                if name in known:
                    if assigns:
                        self.found.globals.append((known, name))
                    self._push_shared(known[name], Path(None, f"the global {name}"))


def slots(kind: type) -> list[str]:
    """Names of the ``__slots__`` of a class."""
    return [
        name
        for each in kind.__mro__
        for name, value in vars(each).items()
        if isinstance(value, types.MemberDescriptorType)
    ]


def content(cell: types.CellType) -> Any:
    """The content of a closure's cell; None for an empty one."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _is_handle(module: str) -> bool:
    return _root(module) in _HANDLES or module.startswith(_TORCH_HANDLES)


def _is_numpy(value: Any, name: str) -> bool:
    """Whether it is an array (``"ndarray"``), or a generator of random numbers (``"random"``)."""
    kind = type(value)
    if _root(kind.__module__) != "numpy":
        return False
    return (name == "ndarray" and kind.__name__ == name) or (
        name == "random" and kind.__name__ in ("Generator", "RandomState")
    )
