"""Which units of a network's ReLUs are active, seen while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NO_RELU = "the model's forward pass has no ReLU, neither a module nor a function call"
"""Why a proxy that is defined by the units that ReLUs switch on has no value."""

EXACT = 2**24
"""Counts up to here are exact in float32."""


class Agreement:
    """In how many units two samples agree: both active or both inactive, over all ReLUs seen."""

    def __init__(self) -> None:
        self.units = 0
        self._kernel: Tensor | None = None

    def see(self, output: Tensor) -> None:
        """Counts the units of a ReLU's output ``[B, ...]``."""
        active = _rows(output.detach() > 0)  # [B, units]
        both = sum(
            (piece.float() @ piece.float().T).double() for piece in active.split(EXACT - 1, dim=1)
        )
        assert isinstance(both, Tensor)
        count = both.diagonal()
        agreeing = active.shape[1] - count[:, None] - count[None, :] + 2 * both
        self.units += active.shape[1]
        self._kernel = agreeing if self._kernel is None else self._kernel + agreeing

    @property
    def kernel(self) -> Tensor | None:
        """``[B, B]`` float64: the number of units, of ``units``, in which samples agree.

        None where no ReLU was seen.
        """
        return self._kernel


def _rows(pattern: Tensor) -> Tensor:
    """``[B, units]``, the units in the order in which they lie in memory."""
    if pattern.dim() == 4 and pattern.is_contiguous(memory_format=torch.channels_last):
        pattern = pattern.permute(0, 2, 3, 1)
    return pattern.reshape(len(pattern), -1)


class WatchedReLUs(TorchDispatchMode):
    """Reports the output of every ReLU inside the block: modules, functions, scripted or in place.

    ReLU6 counts as well: a unit is on where its output is positive.
    """

    def __init__(self, report: Callable[[Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._report = report

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        if func in _RELUS or (func in _CLAMPS and args[1] == 0):
            self._report(returned)
        return returned


_RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
_CLAMPS = (torch.ops.aten.hardtanh.default, torch.ops.aten.hardtanh_.default)
