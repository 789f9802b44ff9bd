"""Calls of ReLU and of its smooth relatives in a forward pass, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class RecordedReLUs(TorchDispatchMode):
    """Reports the output of every ReLU inside the block: modules, functions, scripted or in place.

    ReLU is also written as ``clamp``, ``threshold``, ``maximum``, ``hardtanh`` and ``where``. One
    that is bounded above, such as ReLU6, counts as well: a unit is on where its output is positive.
    """

    def __init__(self, report: Callable[[Tensor], None], smooth: bool = False) -> None:
        """Reports ReLUs; where ``smooth``, also GELU and others that keep the sign of a number."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._report = report
        self._smooth = smooth

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        counts = is_relu(func, args, kwargs) or (self._smooth and keeps_sign(func))
        returned = func(*args, **kwargs)
        if counts:
            self._report(returned)
        return returned


def is_relu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of one of torch's operators is a ReLU, however it is written."""
    told = _IS_RELU.get(func._overloadpacket)
    return told is not None and told(*args, **kwargs)


def keeps_sign(func: Any) -> bool:
    """Whether an operator is an activation, not ReLU, that is positive where its input is."""
    return func._overloadpacket in _KEEP_SIGN


def _always(x: Tensor) -> bool:
    return True


def _clamp(x: Tensor, min: Any = None, max: Any = None) -> bool:  # noqa: A002 - torch's names
    return min is not None and _is_zero(min) and (max is None or not _is_zero(max))


def _hardtanh(x: Tensor, min_val: float = -1, max_val: float = 1) -> bool:
    return min_val == 0 < max_val


def _threshold(x: Tensor, threshold: float, value: float) -> bool:
    return threshold == value == 0


def _maximum(first: Tensor, second: Tensor) -> bool:
    return _is_zero(first) != _is_zero(second)


def _where(condition: Tensor, chosen: Any = None, other: Any = None) -> bool:
    """``where(x > 0, x, 0)``."""
    return (
        isinstance(chosen, Tensor)
        and chosen.is_floating_point()
        and chosen.shape == condition.shape
        and other is not None
        and _is_zero(other)
        and torch.equal(condition, chosen > 0)
    )


def _is_zero(value: Any) -> bool:
    """Whether all of a number or tensor is zero."""
    if isinstance(value, Tensor):
        return not bool(value.detach().count_nonzero())
    return bool(value == 0)


_IS_RELU: dict[Any, Callable[..., bool]] = {
    _aten.relu: _always,
    _aten.relu_: _always,
    _aten.clamp: _clamp,
    _aten.clamp_: _clamp,
    _aten.clamp_min: _clamp,
    _aten.clamp_min_: _clamp,
    _aten.hardtanh: _hardtanh,
    _aten.hardtanh_: _hardtanh,
    _aten.threshold: _threshold,
    _aten.threshold_: _threshold,
    _aten.maximum: _maximum,
    _aten.where: _where,
}
"""Whether a call is a ReLU, from its arguments, by its overload packet."""

_KEEP_SIGN = {
    _aten.gelu,
    _aten.gelu_,
    _aten.silu,
    _aten.silu_,
    _aten.hardswish,
    _aten.hardswish_,
    _aten.mish,
    _aten.mish_,
    _aten.elu,
    _aten.elu_,
    _aten.leaky_relu,
    _aten.leaky_relu_,
}
"""Activations whose output is positive where their input is, by their overload packets."""
