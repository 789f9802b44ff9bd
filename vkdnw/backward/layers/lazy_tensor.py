"""Feature maps that are computed only when they are read.

Results of BatchNorm and pooling are mostly added to other maps, and those of ReLU are mostly read
by a convolution. The reader can compute them on the way. So the native layers return tensors
without memory, each with a LazyOp; a sum of such tensors is another one. Any operation of torch on
one, from Python or from C++, computes its numbers first, to the same bits. To autograd they are
ordinary tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from vkdnw.backward.layers.tensor_notes import OverwrittenError
from vkdnw.ops.batch_norm import Summand, normalised_sum


@dataclass(frozen=True)
class VersionedTensor:
    """A tensor that a layer reads, and its version, the number of writes to it."""

    tensor: Tensor
    version: int

    @classmethod
    def of(cls, tensor: Tensor) -> VersionedTensor:
        return cls(tensor, tensor._version)

    def check(self) -> None:
        """Raises OverwrittenError if the tensor was written to since."""
        if self.tensor._version != self.version:
            raise OverwrittenError(
                "a feature map was overwritten in place after a layer had read it, so its gradient "
                "is lost; use an out-of-place operation"
            )

    def numbers(self) -> Tensor:
        """The tensor outside the graph. Raises OverwrittenError."""
        self.check()
        if isinstance(self.tensor, LazyTensor):
            return self.tensor.op.value()
        return self.tensor.detach()


class LazyOp(ABC):
    """How to make a tensor outside the graph, and the tensor once it is made."""

    def __init__(self) -> None:
        self._value: Tensor | None = None
        self.shared = False  # while a tensor is detached that stays lazy

    @property
    def is_made(self) -> bool:
        return self._value is not None

    def value(self) -> Tensor:
        """The tensor, the same one on every call. Raises OverwrittenError."""
        if self._value is None:
            self._value = self._make()
        return self._value

    @abstractmethod
    def _make(self) -> Tensor:
        """Computes it."""


class LazyTensor(Tensor):
    """A tensor of the shape and layout of another one, made by a LazyOp on demand."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    op: LazyOp

    @classmethod
    def of(cls, like: Tensor, op: LazyOp) -> Any:
        """The result of the op: shape, dtype and layout are those of another tensor."""
        lazy = torch.Tensor._make_wrapper_subclass(
            cls, like.shape, strides=like.stride(), dtype=like.dtype, device=like.device
        )
        lazy.op = op
        return lazy

    def detached(self) -> Tensor:
        """This tensor outside the graph, still lazy; both share one version counter."""
        self.op.shared = True
        try:
            return self.detach()
        finally:
            self.op.shared = False

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
        if func is torch.ops.aten.detach.default and args[0].op.shared:
            return LazyTensor.of(args[0], args[0].op)
        named = {name: _known(each) for name, each in (kwargs or {}).items()}
        return func(*map(_known, args), **named)


def _known(argument: Any) -> Any:
    """An argument in which lazy tensors are computed."""
    if isinstance(argument, LazyTensor):
        return argument.op.value()
    if isinstance(argument, Tensor | int | float | None):  # the usual case, and faster than a tree
        return argument
    return tree_map_only(LazyTensor, lambda lazy: lazy.op.value(), argument)


# ---- ReLU ------------------------------------------------------------------------------------


class ReLULazyOp(LazyOp):
    """The ReLU of a feature map."""

    def __init__(self, read: VersionedTensor) -> None:
        super().__init__()
        self.read = read

    def _make(self) -> Tensor:
        return torch.relu(self.read.numbers())


def rectified_from(x: Tensor) -> Tensor | None:
    """The input of a lazy ReLU, outside the graph; None for any other tensor."""
    op = x.op if isinstance(x, LazyTensor) else None
    return op.read.numbers() if isinstance(op, ReLULazyOp) and not op.is_made else None


# ---- sums ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """A summand: a feature map, which is normalised or pooled before it is added."""

    read: VersionedTensor
    factors: Tensor | None = None
    pooled: bool = False


class SumLazyOp(LazyOp):
    """A sum of feature maps, from left to right."""

    def __init__(self, *terms: Term) -> None:
        super().__init__()
        self.terms = terms  # none once it is made
        self.relu_mask: Tensor | None = None  # of the sum as it was made

    def _make(self) -> Tensor:
        total, self.relu_mask = normalised_sum(
            [Summand(term.read.numbers(), term.factors, term.pooled) for term in self.terms]
        )
        self.terms = ()
        return total


def _sum(first: Any, second: Any) -> Any:
    """A sum, lazy where that of a part is; sums of two round alike in either order."""
    left, right = _terms(first), _terms(second)
    if len(left) < len(right):
        first, second, left, right = second, first, right, left
    if not left or not _are_alike(first, second):
        return torch.add(_known(first), _known(second))
    last = right if len(right) == 1 else (Term(VersionedTensor.of(second)),)
    return LazyTensor.of(first, SumLazyOp(*left, *last))


def _terms(value: Any) -> tuple[Term, ...]:
    """The terms of a lazy sum; none for other tensors."""
    op = value.op if isinstance(value, LazyTensor) else None
    return op.terms if isinstance(op, SumLazyOp) else ()


def _are_alike(first: Tensor, second: Any) -> bool:
    return (
        isinstance(second, Tensor)
        and first.shape == second.shape
        and first.stride() == second.stride()
        and (first.dtype, first.device) == (second.dtype, second.device)
    )
