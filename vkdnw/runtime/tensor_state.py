"""The tensors that a model holds: their numbers, memory, gradients and flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from vkdnw.runtime.reachable import Path
from vkdnw.runtime.tensor_bits import Checksum, in_groups, restored


class TensorState:
    """Tensors as they are when this is made.

    Their numbers are copied as long as the copies take at most ``room`` bytes; for the others
    only whether they changed is known. Fixed ones, by name, are those that nothing should write
    to; for them only the writes that torch recorded are known.
    """

    def __init__(
        self,
        reached: Iterable[tuple[Tensor, Path | None]],
        room: int,
        fixed: Mapping[str, Tensor],
    ) -> None:
        found = [(tensor, path) for tensor, path in reached if _has_memory(tensor)]
        self._paths = [path for _, path in found]
        self._tensors = [tensor for tensor, _ in found]
        self._memory = [tensor.data for tensor in self._tensors]
        self._fixed = fixed
        held = [*self._tensors, *fixed.values()]
        self._leaves = [tensor for tensor in held if tensor.is_leaf]
        self._flags = [tensor.requires_grad for tensor in self._leaves]
        self._gradients = [tensor.grad for tensor in self._leaves]
        gradients = [tensor.grad for tensor in self._tensors if tensor.is_leaf]
        distinct = {id(g): g.data for g in gradients if g is not None and _has_memory(g)}
        copied, told = _within(room, [*self._memory, *distinct.values()])
        self.room = room
        self._copies = in_groups(copied)
        self._checksums = [(tensor, Checksum(tensor)) for tensor in told]
        self._marks = _marks(self._tensors)
        self._fixed_marks = _marks(fixed.values())

    def written(self) -> bool:
        """Whether torch recorded a write since the last call; writes through ``.data`` or numpy
        are not recorded."""
        return _marks(self._tensors) != self._marks or self._fixed_written()

    def _fixed_written(self) -> bool:
        return _marks(self._fixed.values()) != self._fixed_marks

    def restore_numbers(self) -> bool:
        """Restores the memory of tensors and the numbers in it; returns whether any differed.

        Raises:
            ValueError: a tensor was overwritten of which there is no copy.
        """
        if self._fixed_written():
            now = zip(self._fixed, _marks(self._fixed.values()), self._fixed_marks, strict=True)
            name = next(name for name, mark, before in now if mark != before)
            raise ValueError(
                f"a forward pass writes into {name}, and the class that does so declares "
                "static_graph = True, that it does nothing of the kind; load the weights anew, and "
                "take the declaration out"
            )
        changed = False
        for tensor, memory in zip(self._tensors, self._memory, strict=True):
            if not _same_memory(tensor, memory):
                tensor.data = memory
                changed = True
        with torch.no_grad():
            changed |= restored(self._copies)
        lost = [self._name(tensor) for tensor, checksum in self._checksums if checksum.changed()]
        self._marks = _marks(self._tensors)
        if lost:
            raise ValueError(
                f"the model writes into {lost[0]} while it runs, and its old values are lost: a "
                f"copy does not fit in the {self.room} bytes that copies of weights may take (a "
                "quarter of max_memory=); load the weights anew, and raise max_memory= or let "
                "forward() write to a copy"
            )
        return changed

    def restore(self) -> None:
        """Puts back numbers, gradients and ``requires_grad``."""
        for tensor, flag, gradient in zip(self._leaves, self._flags, self._gradients, strict=True):
            if tensor.requires_grad != flag:
                tensor.requires_grad_(flag)
            if tensor.grad is not gradient:
                tensor.grad = gradient
        self.restore_numbers()

    def _name(self, memory: Tensor) -> str:
        for kept, path in zip(self._memory, self._paths, strict=True):
            if kept is memory:
                return str(path)
        return "a gradient"


def _marks(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """The addresses of tensors, and the numbers of writes that torch recorded."""
    return [
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    ]


def _has_memory(tensor: Tensor) -> bool:
    """Whether a tensor is plain memory; compressed, sparse and symbolic tensors are not."""
    return (
        tensor.layout == torch.strided
        and tensor.device.type != "meta"
        and not is_lazy(tensor)
        and not _is_wrapper(tensor)
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def _is_wrapper(tensor: Any) -> bool:
    """Whether a tensor's class holds other tensors, which are found among its attributes."""
    return bool(is_traceable_wrapper_subclass(tensor))


def _within(room: int, tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Tensors that take at most ``room`` bytes together, small ones first, and the others."""
    if sum(tensor.nbytes for tensor in tensors) <= room:
        return tensors, []
    ordered = sorted(tensors, key=lambda tensor: tensor.nbytes)
    taken = 0
    for place, tensor in enumerate(ordered):
        taken += tensor.nbytes
        if taken > room:
            return ordered[:place], ordered[place:]
    return ordered, []


def _same_memory(tensor: Tensor, memory: Tensor) -> bool:
    return (
        tensor.data_ptr() == memory.data_ptr()
        and tensor.shape == memory.shape
        and tensor.dtype == memory.dtype
        and tensor.stride() == memory.stride()
    )
