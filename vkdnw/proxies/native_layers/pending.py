"""Feature maps that are written down only if someone looks at them.

What BatchNorm returns is mostly added to another map, and what ReLU returns is mostly read by a
convolution; both can be computed on the way, from what they are made of. So the native layers
return tensors without memory that remember how they are made. Whatever torch does with one, from
Python or from C++, sees its numbers, which are computed then, to the same bits; there is no memory
to read behind torch's back. Autograd sees tensors like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from vkdnw.proxies.native_layers.values import Reading


class Recipe:
    """How to make a tensor of another one, outside the graph, and the tensor once it is made."""

    def __init__(self, reading: Reading, make: Callable[[Tensor], Tensor]) -> None:
        self._reading = reading
        self._make = make
        self._value: Tensor | None = None
        self.shared = False  # while a tensor is detached that stays pending

    @property
    def is_made(self) -> bool:
        return self._value is not None

    def source(self) -> Tensor:
        """What it is made of. Raises OverwrittenError."""
        return self._reading.numbers()

    def value(self) -> Tensor:
        """The tensor, the same one on every call. Raises OverwrittenError."""
        if self._value is None:
            self._value = self._make(self.source())
        return self._value


class Pending(Tensor):
    """A tensor of the shape and layout of another one, made from it by a recipe on demand."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    recipe: Recipe

    @classmethod
    def of(cls, reading: Reading, make: Callable[[Tensor], Tensor]) -> Any:
        """What is made of something that was read."""
        return cls._like(reading.tensor, Recipe(reading, make))

    def detached(self) -> Tensor:
        """This tensor outside the graph, still pending; changes of either count for both."""
        self.recipe.shared = True
        try:
            return self.detach()
        finally:
            self.recipe.shared = False

    @classmethod
    def _like(cls, like: Tensor, recipe: Recipe) -> Any:
        pending = torch.Tensor._make_wrapper_subclass(
            cls, like.shape, strides=like.stride(), dtype=like.dtype, device=like.device
        )
        pending.recipe = recipe
        return pending

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.add.Tensor and len(args) == 2 and not kwargs:
            return _sum(*args)
        if func is torch.ops.aten.detach.default and args[0].recipe.shared:
            return Pending._like(args[0], args[0].recipe)
        known, named = tree_map_only(Pending, _value, (args, dict(kwargs or {})))
        return func(*known, **named)


class PendingReLU(Pending):
    """The ReLU of a feature map."""


class PendingNorm(Pending):
    """What BatchNorm makes of a feature map."""

    added_to: Callable[[Tensor, Tensor], Tensor]
    """From the feature map and another one: the sum of what it becomes and the other."""


def _value(pending: Pending) -> Tensor:
    return pending.recipe.value()


def _sum(first: Any, second: Any) -> Any:
    """A sum, with a BatchNorm's result in one pass; sums round alike in either order."""
    base, norm = (second, first) if isinstance(first, PendingNorm) else (first, second)
    if isinstance(base, Pending):
        base = _value(base)
    if not isinstance(norm, PendingNorm) or norm.recipe.is_made or not _is_alike(base, norm):
        return torch.add(base, _value(norm) if isinstance(norm, Pending) else norm)
    return norm.added_to(norm.recipe.source(), base)


def _is_alike(base: Any, norm: Tensor) -> bool:
    return (
        isinstance(base, Tensor)
        and base.shape == norm.shape
        and base.stride() == norm.stride()
        and (base.dtype, base.device) == (norm.dtype, norm.device)
    )
