"""Watches what a forward pass does to the model's own modules.

A model may hand values from one part of its forward to another through an attribute, or call a
layer with other weights for a moment (``torch.func.functional_call``). Either is fine while one
thread runs it, and wrong numbers where two do; and what a layer computed with other weights is no
derivative of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_STANDARD = frozenset(vars(nn.Module())) - {"_parameters", "_buffers"}
_DEPTH = 3  # of containers that are looked into


@dataclass
class Watch:
    """What was seen, complete once the block has ended."""

    replaced: set[int] = field(default_factory=set)  # ids of parameters not in place in a call
    concurrent: bool = False  # whether several threads may run the model at once


@contextmanager
def watched(model: nn.Module) -> Iterator[Watch]:
    """Watches the forward passes of the block. Caches should have been filled by an earlier one."""
    seen = Watch()
    modules = list(model.modules())
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    handles = []
    try:
        for module in modules:
            own = {name: p for name, p in module._parameters.items() if p is not None}
            if own and not isinstance(module, torch.jit.ScriptModule):  # they take no hooks
                hook = _compare(own, seen.replaced)
                handles.append(module.register_forward_hook(hook, prepend=True))
        before = _attributes(model)
        yield seen
        same = _equal(before, _attributes(model))
        # Hooks of the caller's may keep values anywhere.
        seen.concurrent = same and not hooked and not seen.replaced
    finally:
        for handle in handles:
            handle.remove()


def _compare(own: dict[str, nn.Parameter], replaced: set[int]) -> Any:
    def compare(module: nn.Module, args: Any, output: Any) -> None:
        for name, parameter in own.items():
            if name not in module._parameters or module._parameters[name] is not parameter:
                replaced.add(id(parameter))

    return compare


def _attributes(model: nn.Module) -> list[Any]:
    """What modules hold, one after the other.

    Objects themselves, so that none is freed and its address used again.
    """
    marks: list[Any] = []
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in _STANDARD:
                marks.append(name)
                _mark(value, _DEPTH, marks)
    return marks


def _mark(value: Any, depth: int, marks: list[Any]) -> None:
    """Adds what tells whether a value is the same later: itself, or the items of a container."""
    if value is None or type(value) in _PLAIN:
        marks.append(value)
    elif isinstance(value, Tensor):
        marks += (value, None if value.is_inference() else value._version)
    elif isinstance(value, Mapping) and depth:
        marks += (Mapping, len(value))
        for key, item in value.items():
            marks.append(key)
            _mark(item, depth - 1, marks)
    elif isinstance(value, list | tuple | set) and depth:
        marks += (type(value), len(value))
        for item in value:
            _mark(item, depth - 1, marks)
    else:
        marks.append(value)


_PLAIN = frozenset({bool, int, float, str})


def _equal(left: list[Any], right: list[Any]) -> bool:
    """Equal numbers and strings, and otherwise the same objects."""
    return len(left) == len(right) and all(
        a is b or (type(a) is type(b) and isinstance(a, int | float | str) and bool(a == b))
        for a, b in zip(left, right, strict=True)
    )
