"""Explains errors that a model raises while it is scored.

A call first runs the model on two samples. Where that fails, torch's error is about sizes that
the caller does not know. The explanation adds how the model was run, and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from vkdnw.batch import Batch


@contextmanager
def explained(model: nn.Module, piece: Batch, *, first: bool = True) -> Iterator[None]:
    """Explains an error of ``model`` inside the block, which runs it on ``piece``.

    Args:
        first: whether the piece holds the first samples of the batch, and is the first to be run.

    Exceptions of other kinds (files, the caller's own), and a GPU that runs out of memory, pass as
    they are.

    Raises:
        ValueError: the model failed; says on how many samples, and names a remedy.
        MemoryError: the machine has no memory for so many.
    """
    try:
        yield
    except Exception as error:
        if not _is_the_models(error):
            raise
        line = _first_line(error)
        if "allocate memory" in str(error):
            raise MemoryError(
                f"the model does not fit on {_samples(piece, first)}: {line}"
            ) from error
        why = "first to record its operations" if first else "to compare its derivatives with"
        raise ValueError(
            f"forward() of {type(model).__name__} failed on {_samples(piece, first)}, which vkdnw "
            f"runs {why}: {type(error).__name__}: {line}; {_remedy(model, piece, error, line)}"
        ) from error


@contextmanager
def differentiation_explained() -> Iterator[None]:
    """Explains torch's error in a backward pass as an error of the model, and names a remedy.

    Raises:
        ValueError: autograd cannot differentiate the model.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        line = _first_line(error)
        if any(words in line for words in ("a second time", "allocate memory")):
            raise  # a freed graph of the caller's, or no memory: the callers explain these
        raise ValueError(
            "torch.autograd.grad cannot differentiate the model's logits, so there is no "
            f"derivative to return: {line}; {_remedy_of_backward(line)}"
        ) from error


def _remedy_of_backward(line: str) -> str:
    if "use_reentrant" in line:
        return "use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
    if "donated" in line:
        return (
            "pass the model as it was before torch.compile, or set "
            "torch._functorch.config.donated_buffer = False before it is compiled"
        )
    return (
        "loss.backward() on model(batch) says where, under torch.autograd.set_detect_anomaly(True)"
    )


@contextmanager
def proxies_explained(names: Sequence[str], model: nn.Module) -> Iterator[None]:
    """Adds to an error that ``model`` raises inside the block which proxies ran it, and a
    remedy.

    Exceptions of other kinds, and a device that runs out of memory, pass as they are.

    Raises:
        ValueError: the model failed, or cannot be differentiated.
    """
    try:
        yield
    except Exception as error:
        if not _is_the_models(error):
            raise
        line = _first_line(error)
        raise ValueError(
            f"{type(model).__name__} failed in a pass for {', '.join(names)}: "
            f"{type(error).__name__}: {line}; {_remedy_of_proxies(line)}"
        ) from error


def _remedy_of_proxies(line: str) -> str:
    if "not require grad" in line:
        return (
            "forward() differentiates by itself, and this pass records no gradients of weights; "
            "use torch.func.grad or torch.func.vjp there, which need none"
        )
    if _is_about_dtypes(line):
        return "inputs have to be of the dtype that the model reads: convert one of them"
    return "model(batch) in the same mode, model.train() or model.eval(), says where"


_ABOUT_INPUTS = frozenset(
    {RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError}
    | {IndexError, KeyError, AttributeError, ZeroDivisionError}
)


def _is_the_models(error: Exception) -> bool:
    """Whether an error is the model's or its inputs'; ``torch.OutOfMemoryError`` is neither."""
    return type(error) in _ABOUT_INPUTS and not _is_ours(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["(no message)"])[0]


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised the error itself, and not an operator under its dispatch mode."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_name in _WATCHING:
        return False
    return bool(trace.tb_frame.f_globals.get("__name__", "").startswith("vkdnw."))


_WATCHING = ("__torch_function__", "__torch_dispatch__")


def _samples(piece: Batch, first: bool) -> str:
    shapes = ", ".join(str(list(tensor.shape)) for _, tensor in piece.tensors())
    several = f"the first {piece.size}" if first else f"{piece.size}"
    number = "one sample" if piece.size == 1 else f"{several} samples of the batch"
    return f"{number} ({shapes})"


def _remedy(model: nn.Module, piece: Batch, error: Exception, line: str) -> str:
    if isinstance(error, NotImplementedError) and "forward" in line:
        return "pass the module that computes the logits"
    if isinstance(error, TypeError) and "argument" in line:
        count = len(piece.args) + len(piece.kwargs)
        return (
            f"the batch holds {count} argument{'s' * (count != 1)} for forward(): a tuple or list "
            "holds all of them in order, a dict by name, and labels are none of them (a list of "
            "samples has to be stacked: torch.stack(samples))"
        )
    dtypes = sorted({str(p.dtype) for p in model.parameters() if p.is_floating_point()})
    for name, tensor in piece.tensors():
        if tensor.dim() and not tensor.is_floating_point() and _is_about_dtypes(line):
            scaled = " / 255" if tensor.dtype == torch.uint8 else ""
            return (
                f"{name} is {tensor.dtype} and the model's weights are {', '.join(dtypes)}: images "
                f"go in as floating-point numbers, {name}.float(){scaled}; tokens go in as int64"
            )
    if _is_about_dtypes(line):
        return (
            f"the model's weights are {', '.join(dtypes)}: convert the model or the batch, or pass "
            "dtype= to convert both"
        )
    return (
        "the first axis is that of the samples, and the model has to take the axes behind it; it "
        "also has to take any number of samples, and 2 samples here: a batch size that is written "
        "into it (view, reshape, buffers, an export without a dynamic batch dimension) has to go"
    )


def _is_about_dtypes(line: str) -> bool:
    words = ("dtype", "scalar type", "not implemented for", "Input type", "integral", "data type")
    return any(word in line for word in words)
