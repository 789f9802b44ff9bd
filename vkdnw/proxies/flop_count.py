"""FLOPs of a forward pass, most of which need not be run to be counted.

What an operator costs, and the sizes of what it returns, follow from the sizes of what it reads. So
an operator that was met before on tensors of the same sizes is put off: it returns tensors without
memory, and is run only if somebody looks at their numbers. Nobody does where a network is made of
convolutions, normalisation, ReLU, pooling and sums. Before any other operator reads such a tensor,
and before any tensor is written to, all that was put off is run, in order. A model that branches on
a value therefore sees the value that it would see without this.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten

PUT_OFF: frozenset[Any] = frozenset(
    {
        _aten._adaptive_avg_pool2d.default,
        _aten.add.Tensor,
        _aten.addmm.default,
        _aten.avg_pool2d.default,
        _aten.convolution.default,
        _aten.hardtanh.default,
        _aten.max_pool2d_with_indices.default,
        _aten.mean.dim,
        _aten.mul.Tensor,
        _aten.native_batch_norm.default,
        _aten.relu.default,
        _aten.view.default,
    }
)
"""Operators that write nowhere, and whose results have sizes that do not depend on numbers."""

KNOWN = 4096
"""Calls on different sizes that are remembered: a network has a few dozen."""


def forward_flops(model: nn.Module, sample: Tensor, *, put_off: bool = True) -> int:
    """FLOPs of ``model(sample)``, by torch's formulas (``torch.utils.flop_counter``).

    Args:
        model: tensors that it keeps have their numbers afterwards.
        sample: what it is called with; float tensors on the CPU gain from ``put_off``.
        put_off: whether operators are run only where their numbers are needed. The count is the
            same. A model that reaches for a tensor's memory past torch's operators (``numpy()``)
            raises an error then.
    """
    counter = _Counter(put_off)
    with torch.no_grad():
        try:
            with counter:
                model(sample)
        finally:
            counter.finish()
    return counter.total


Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""All of a tensor on the CPU but its numbers: size, stride and dtype."""


class _Deferred(Tensor):
    """A tensor of a layout, and its numbers once they have been computed."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    known: Layout
    numbers: Tensor

    @classmethod
    def of(cls, layout: Layout) -> Any:
        size, stride, dtype = layout
        deferred = torch.Tensor._make_wrapper_subclass(cls, size, strides=stride, dtype=dtype)
        deferred.known = layout
        return deferred

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Outside of a pass: of a tensor that the model has kept, which has its numbers."""
        return func(*_numbers(args), **_numbers(kwargs or {}))


class _Outcome(NamedTuple):
    """What is known of a call before it is run."""

    flops: int
    results: tuple[Layout | Tensor, ...]  # those without elements are there already
    is_tuple: bool


class _Call(NamedTuple):
    """A call that was put off, and those of its results that somebody holds."""

    operator: Callable[..., Any]
    args: tuple[Any, ...]
    results: list[Callable[[], Tensor | None]]

    @property
    def is_of_use(self) -> bool:
        return any(result() is not None for result in self.results)

    def run(self) -> None:
        returned = self.operator(*_numbers(self.args))
        found = returned if isinstance(returned, tuple) else (returned,)
        for result, numbers in zip(self.results, found, strict=True):
            deferred = result()
            if isinstance(deferred, _Deferred):
                deferred.numbers = numbers


class _Counter(TorchDispatchMode):
    """Sums torch's formulas over every operator, and puts off those that it can."""

    def __init__(self, put_off: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self._may_put_off = put_off
        self._waiting: deque[_Call] = deque()
        self._computed: list[Callable[[], Tensor | None]] = []

    def finish(self) -> None:
        """Runs what the model has kept the results of, and nothing else; after the pass."""
        while self._waiting and not self._waiting[-1].is_of_use:
            self._waiting.pop()
        self._run_waiting()
        while self._computed:
            kept = self._computed.pop()()  # torch gives no memory to what has weak references
            if isinstance(kept, _Deferred):
                _give_memory(kept)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch.is_inference_mode_enabled():  # where operators come in one piece
            with self:
                returned = func.decompose(*args, **(kwargs or {}))
            if returned is not NotImplemented:
                return returned
        if self._may_put_off and not kwargs and func in PUT_OFF:
            described = _described(func, args)
            if described is not None:
                return self._put_off(func, args, _outcome(func, described))
        kwargs = kwargs or {}
        if _Deferred in types:
            _refuse_resizing(func, args)
            self._run_waiting()
            args, kwargs = _numbers(args), _numbers(kwargs)
        elif self._waiting and (func._schema.is_mutable or _trains(func, args)):
            self._run_waiting()
        returned = func(*args, **kwargs)
        self.total += _flops(func, args, kwargs, returned)
        return returned

    def _put_off(self, func: Any, args: tuple[Any, ...], outcome: _Outcome) -> Any:
        self.total += outcome.flops
        results: list[Tensor] = []
        references: list[Callable[[], Tensor | None]] = []
        for known in outcome.results:
            if isinstance(known, Tensor):
                results.append(known)
                references.append(_nobody)
            else:
                results.append(_Deferred.of(known))
                references.append(weakref.ref(results[-1]))
        self._waiting.append(_Call(func, args, references))
        return tuple(results) if outcome.is_tuple else results[0]

    def _run_waiting(self) -> None:
        """Runs what was put off, in order; feature maps are freed as they would have been."""
        while self._waiting:
            call = self._waiting.popleft()
            if call.is_of_use:
                call.run()
                self._computed += call.results


def _nobody() -> None:
    """Whom a result without elements matters to."""


def _give_memory(deferred: _Deferred) -> None:
    """Makes an ordinary tensor of it, where torch can."""
    numbers = deferred.numbers
    try:
        torch.utils.swap_tensors(deferred, numbers)
    except RuntimeError:  # a view of it has been kept, too
        deferred.numbers = numbers


def _refuse_resizing(func: Any, args: tuple[Any, ...]) -> None:
    if torch.Tag.inplace_view in func.tags and isinstance(args[0], _Deferred):
        raise NotImplementedError(f"{func} would change the sizes of a tensor without memory")


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> int:
    formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
    return 0 if formula is None else formula(*args, **kwargs, out_val=returned)


def _trains(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a BatchNorm writes its running statistics, which its schema does not say."""
    return func is _aten.native_batch_norm.default and bool(args[5])


def _numbers(tree: Any) -> Any:
    """The same with memory behind every tensor."""
    return tree_map_only(_Deferred, lambda deferred: deferred.numbers, tree)


def _described(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """All that decides the outcome of a call, or None where it cannot be put off."""
    described: list[Any] = []
    for value in args:
        kind = type(value)
        if kind is _Deferred:
            described.append(value.known)
        elif isinstance(value, Tensor):
            if not _is_plain(value):
                return None
            described.append((value.shape, value.stride(), value.dtype))
        else:
            described.append(tuple(value) if kind is list else value)
    return None if _trains(func, args) else tuple(described)


def _is_plain(value: Tensor) -> bool:
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.is_cpu
        and value.layout is torch.strided
        and value.dtype.is_floating_point
    )


@lru_cache(maxsize=KNOWN)
def _outcome(func: Any, described: tuple[Any, ...]) -> _Outcome:
    """Of a call, found by running it on zeros."""
    args = tuple(_zeros(value) if _is_layout(value) else value for value in described)
    returned = func(*args)
    found = returned if isinstance(returned, tuple) else (returned,)
    results = tuple(
        (tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else tensor
        for tensor in found
    )
    return _Outcome(_flops(func, args, {}, returned), results, isinstance(returned, tuple))


def _is_layout(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], torch.dtype)


def _zeros(layout: Layout) -> Tensor:
    size, stride, dtype = layout
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    memory = torch.zeros(reach + 1 if 0 not in size else 0, dtype=dtype)
    return memory.as_strided(size, stride)
