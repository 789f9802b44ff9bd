"""The numbers in tensors: copied, compared to the last bit, and written back.

A tensor does not record all writes to it: writes through ``.data``, through numpy or through
another view leaves no trace. So numbers are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_SMALL = 2**16  # bytes of a tensor that is copied together with others
_TOGETHER = 128  # tensors at most
_PIECE = 2**20  # numbers of a checksum's step
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Numbers:
    """The numbers in tensors of one device and dtype, copied as one and compared as one.

    A network of many small buffers then takes two operations and one transfer from a GPU.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [_without_repeats(tensor.detach()) for tensor in tensors]
        self._shapes = [tensor.shape for tensor in self._tensors]
        self._copy = _joined(self._tensors, copy=True)

    def changed(self) -> Tensor:
        """Whether a bit differs from the copy: one bool, on the device of the tensors."""
        now = _joined(self._tensors)
        if now.is_cpu:
            return torch.tensor(not _equal(now, self._copy), device="cpu")
        return (_bits(now) != _bits(self._copy)).any()

    def restore(self) -> None:
        """Writes the copy back into those tensors that differ."""
        if len(self._tensors) == 1:
            self._tensors[0].copy_(self._copy.view_as(self._tensors[0]))
            return
        pieces = self._copy.split([shape.numel() for shape in self._shapes])
        for tensor, shape, piece in zip(self._tensors, self._shapes, pieces, strict=True):
            value = piece.view(shape)
            if not _equal(tensor, value):
                tensor.copy_(value)


class Checksum:
    """Detects changes of a tensor without a copy: for weights that fit memory only once."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = _without_repeats(tensor.detach())
        self._sum = _checksum(self._tensor)

    def changed(self) -> bool:
        """Whether a bit differs; undetected with probability 2^-63."""
        return _checksum(self._tensor) != self._sum


def restored(groups: Sequence[Numbers]) -> bool:
    """Restores groups in which a number changed; says whether there was one.

    There is one transfer from a GPU, not one for each group.
    """
    asked: dict[torch.device, list[tuple[Numbers, Tensor]]] = {}
    for group in groups:
        answer = group.changed()
        asked.setdefault(answer.device, []).append((group, answer))
    differing = [
        group
        for of_device in asked.values()
        for (group, _), differs in zip(
            of_device, torch.stack([answer for _, answer in of_device]).tolist(), strict=True
        )
        if differs
    ]
    for group in differing:
        group.restore()
    return bool(differing)


def in_groups(tensors: Iterable[Tensor]) -> list[Numbers]:
    """Copies of tensors: small ones together, large ones and quantised ones each alone."""
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    groups: list[Numbers] = []
    for tensor in tensors:
        if tensor.nbytes > _SMALL or tensor.is_quantized:
            groups.append(Numbers([tensor]))
            continue
        group = alike.setdefault((tensor.device, tensor.dtype), [])
        group.append(tensor)
        if len(group) == _TOGETHER:
            groups.append(Numbers(group))
            group.clear()
    return [*groups, *(Numbers(group) for group in alike.values() if group)]


def _joined(tensors: list[Tensor], *, copy: bool = False) -> Tensor:
    if len(tensors) == 1:
        return tensors[0].clone() if copy else tensors[0]
    return torch.cat([tensor.flatten() for tensor in tensors])


def _without_repeats(tensor: Tensor) -> Tensor:
    """One of the rows that an expanded tensor repeats: the others are the same memory."""
    for axis, (stride, size) in enumerate(zip(tensor.stride(), tensor.shape, strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _equal(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.equal(_bits(left), _bits(right))


def _bits(tensor: Tensor) -> Tensor:
    """Integers of the same bits: floating-point zeros have two signs, and NaN equals nothing."""
    if tensor.is_quantized:
        return tensor.int_repr()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return tensor.view(_INTEGERS[tensor.itemsize])


def _checksum(tensor: Tensor) -> int:
    """A sum of all numbers' bits with odd factors, modulo 2^64: any change of one changes it."""
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    factors = torch.arange(_PIECE, device=tensor.device).mul_(0x5DEECE66D).bitwise_or_(1)
    flat = _bits(tensor).flatten()
    for place, piece in enumerate(flat.split(len(factors))):
        total += (piece.long() * factors[: len(piece)]).sum() * (2 * place + 1)
    return int(total)
