"""A batch of inputs: one tensor, or a tuple or dict of arguments, samples along the first axis.

Tensors with a first axis of the batch's size are cut into samples; other values (flags, tensors
without axes) are passed to every chunk as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

BatchLike = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Arguments of one forward call and the number of samples in them."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    size: int

    def chunk(self, index: slice | Tensor, layout: torch.memory_format | None) -> Batch:
        """A copy of some samples; the model may write into it without touching the caller's data.

        ``layout`` is the memory format of four-dimensional tensors (images); None leaves the
        strides of all tensors in the order in which the caller has them.
        """

        def take(value: Any) -> Any:
            if not _has_samples(value):
                return value
            if isinstance(index, Tensor):
                piece = value[index.to(value.device, non_blocking=True)]
            else:
                piece = value[index]
            if layout is None:
                return _in_order_of(value, piece)
            memory_format = layout if piece.dim() == 4 else torch.contiguous_format
            return piece.clone(memory_format=memory_format)

        return self._map(take, size=_length(index, self.size))

    def samples(self, chosen: range, layout: torch.memory_format | None, fewest: int) -> Batch:
        """A copy of consecutive samples; the first is repeated at the end up to ``fewest``."""
        if len(chosen) >= fewest:
            return self.chunk(slice(chosen.start, chosen.stop), layout)
        repeats = [chosen.start] * (fewest - len(chosen))
        return self.chunk(torch.tensor([*chosen, *repeats], device="cpu"), layout)

    def to(self, dtype: torch.dtype | None) -> Batch:
        """Floating-point tensors in another dtype; None changes nothing."""
        if dtype is None:
            return self
        return self._map(
            lambda value: (
                value.to(dtype)
                if isinstance(value, Tensor) and value.is_floating_point()
                else value
            ),
            size=self.size,
        )

    def with_leaves(self, leaves: list[Tensor]) -> Batch:
        """Floating-point tensors that require a gradient; their leaves are added to ``leaves``.

        The model gets a copy of each leaf, into which it may write.
        """

        def track(value: Any) -> Any:
            if not _has_samples(value) or not value.is_floating_point():
                return value
            leaves.append(value.detach().requires_grad_(True))
            return leaves[-1].clone()

        return self._map(track, size=self.size)

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Every tensor argument with a name for error messages."""
        return [(name, value) for name, value in self.named() if isinstance(value, Tensor)]

    def named(self) -> list[tuple[str, Any]]:
        """Every argument with a name for error messages."""
        if len(self.args) == 1 and not self.kwargs:
            return [("batch", self.args[0])]
        named = [(f"batch[{position}]", value) for position, value in enumerate(self.args)]
        return named + [(f"batch[{key!r}]", value) for key, value in self.kwargs.items()]

    def forward(self, model: nn.Module) -> Any:
        """The model's return value for these arguments."""
        return model(*self.args, **self.kwargs)

    def _map(self, function: Callable[[Any], Any], size: int) -> Batch:
        return Batch(
            tuple(function(value) for value in self.args),
            {key: function(value) for key, value in self.kwargs.items()},
            size,
        )


def as_batch(value: BatchLike) -> Batch:
    """Reads the caller's ``batch``.

    Raises:
        TypeError: neither a tensor nor a tuple, list or mapping of arguments, or an argument that
            contains tensors itself.
        ValueError: no tensor with a sample axis, an empty batch, or tensors of different sizes.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    _check_kind("batch", value)
    if isinstance(value, Tensor):
        args = (value,)
    elif isinstance(value, tuple | list):
        args = tuple(value)
    else:
        kwargs = dict(value)
    batch = Batch(args, kwargs, 0)
    for name, argument in batch.named():
        if isinstance(argument, Tensor) or type(argument).__module__ != "builtins":
            _check_argument(name, argument)
        if _holds_tensors(argument):
            raise TypeError(
                f"{name} is a {type(argument).__name__} that holds tensors, which cannot be cut "
                "into samples; pass every tensor as an argument of its own"
            )
    sizes = {name: len(tensor) for name, tensor in batch.tensors() if _has_samples(tensor)}
    if not sizes:
        raise ValueError(
            "batch holds no tensor with a sample axis; expected [B, ...], a tuple of such tensors, "
            "or a dict of them (a list of numbers or arrays: torch.tensor(batch))"
        )
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"batch tensors disagree on the number of samples: {sizes}; the first axis of every "
            "tensor is that of the samples (instead of one axis of all tokens with offsets or "
            "lengths: pad the bags or sequences to [B, L])"
        )
    size = next(iter(sizes.values()))
    if size == 0:
        raise ValueError("batch is empty (0 samples); at least one is needed")
    return Batch(args, kwargs, size)


def _check_kind(name: str, value: Any) -> None:
    """Refuses a value that is neither a tensor nor a collection of arguments."""
    known = isinstance(value, Tensor | tuple | list | Mapping)
    if known and not isinstance(value, PackedSequence):
        return
    kind = type(value).__name__
    remedy = (
        f"expected a tensor [B, ...], or a tuple or dict of the model's arguments{_hint(value)}"
    )
    raise TypeError(f"{name} is a {kind}: {remedy}")


def _check_argument(name: str, value: Any) -> None:
    """Refuses arguments that hold samples but cannot be cut into samples."""
    if isinstance(value, Tensor):
        if value.is_nested or value.layout != torch.strided:
            kind = "a nested tensor" if value.is_nested else f"a {value.layout} tensor"
            raise TypeError(
                f"{name} is {kind}, which cannot be cut into samples; pad it to [B, L, ...], or "
                "call to_dense()"
            )
    elif isinstance(value, PackedSequence) or _is_array(value):
        raise TypeError(
            f"{name} is a {type(value).__name__}, which cannot be cut into samples{_hint(value)}"
        )


def _hint(value: Any) -> str:
    if isinstance(value, PackedSequence):
        return "; pad it (torch.nn.utils.rnn.pad_packed_sequence) and pass the lengths beside it"
    if _is_array(value):
        return "; torch.as_tensor(batch) is one"
    if isinstance(value, str | bytes):
        return "; text goes in as token numbers, int64 [B, L]"
    if any(hasattr(value, name) for name in ("__next__", "__iter__", "__getitem__")):
        return "; of a loader pass one batch, next(iter(loader)), without its labels"
    return ""


def _is_array(value: Any) -> bool:
    """Whether a value is an array of another library, which torch can read."""
    return hasattr(value, "__array__") and not isinstance(value, Tensor) and hasattr(value, "dtype")


def _has_samples(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _in_order_of(whole: Tensor, piece: Tensor) -> Tensor:
    """A copy of some of a tensor's rows, with strides in the order of the whole tensor's."""
    if len(piece) > len(whole):
        return piece.clone(memory_format=torch.contiguous_format)
    return torch.empty_like(whole[: len(piece)]).copy_(piece.detach())


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return isinstance(value, tuple | list) and any(
        _has_samples(item) or _holds_tensors(item) for item in value
    )


def _length(index: slice | Tensor, size: int) -> int:
    return len(range(size)[index]) if isinstance(index, slice) else len(index)
