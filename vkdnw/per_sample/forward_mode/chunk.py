"""The Jacobian of one chunk of samples in forward mode: tangents of the chosen scalars.

A tangent begins at the output of the scalar's layer
(:mod:`vkdnw.per_sample.forward_mode.tangents`) or at the parameter itself. At the logits it is
their derivative with respect to the scalar. Torch carries the tangents (``torch.func.jacfwd``), a
group of them through one forward pass.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from vkdnw.batch import Batch
from vkdnw.checks import pick_logits
from vkdnw.per_sample.capture import CallSite, Record, Recorder, Records
from vkdnw.per_sample.choose_mode import ForwardRefused
from vkdnw.per_sample.forward_mode.tangent_groups import Group, groups
from vkdnw.per_sample.forward_mode.tangents import FirstTangents, first_tangents
from vkdnw.per_sample.fusion.apply import fused
from vkdnw.per_sample.fusion.find import Fusion
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.tolerance import Precision, differing_logits
from vkdnw.weights import Selection

_one_call = threading.Lock()  # levels of forward differentiation are global to the process


def logit_derivatives(
    problem: Problem,
    trace: Trace,
    selection: Selection,
    folds: tuple[Fusion, ...],
    piece: Batch,
    group_size: int,
) -> tuple[Tensor, Tensor]:
    """Derivatives of a chunk's logits with respect to every chosen scalar.

    Args:
        folds: BatchNorms that the convolutions before them compute.
        piece: ``b`` samples.
        group_size: tangents that go through the network together.

    Returns:
        ``[b, C, P]`` and the logits ``[b, C]`` that the tangents came with.

    Raises:
        ForwardRefused: an operation of the model has no forward derivative; says which. Or the
            logits with tangents, or with folded BatchNorms, differ from those without.
        torch.OutOfMemoryError: they do not fit the device.
    """
    recorder = Recorder(
        {name: layer.module for name, layer in trace.layers.items() if layer.leaves}
    )
    scales = {fold.conv: fold.norm.scale for fold in folds if fold.norm is not None}
    with torch.no_grad(), _differentiable_attention():
        with recorder.attached(), recorder.recording() as records, _NoticedMemory() as noticed:
            problem.state.rewind()
            plain = _forward(problem, trace, piece)
        if noticed.replaced:
            raise ForwardRefused("forward() gives a parameter other memory (module.to, or .data =)")
        covered = {site for terms in trace.terms.values() for site, _ in terms}
        called = {site for site in covered if site.layer not in trace.operations}
        if not called <= records.keys():
            raise ForwardRefused("the model calls other layers where no gradients are recorded")
        inputs = {site: _input_alone(records[site]) for site in called}
        records.clear()
        logits = plain
        shape = (*plain.shape, len(selection))
        derivatives = torch.zeros(shape, dtype=trace.dtype, device=plain.device)
        with fused(replace(trace, pools={}), folds, recorder):  # which no tangent passes
            for group in groups(problem, trace, selection, group_size):
                tangents = _tangents_by_call(trace, group, inputs, scales)
                columns, logits = _carried(problem, trace, group, tangents, piece)
                derivatives[:, :, group.columns.to(columns.device)] = columns.to(trace.dtype)
    if differing_logits(logits, plain, Precision(logits.dtype, len(trace.records))).any():
        raise ForwardRefused("the logits are others where tangents are carried along")
    return derivatives, plain


class _NoticedMemory(TorchFunctionMode):
    """Detects that a tensor gets other memory, as by ``module.to()`` even where none is needed.

    torch ends the process with a segmentation fault where such a tensor carries a tangent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func == _SET_DATA:
            self.replaced = True
        return func(*args, **(kwargs or {}))


_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]


def _forward(
    problem: Problem, trace: Trace, piece: Batch, moved: dict[str, Tensor] | None = None
) -> Tensor:
    """Logits of a copy of the samples, with some parameters replaced."""
    copied = piece.chunk(slice(0, piece.size), trace.layout)
    if not moved:
        return pick_logits(copied.forward(problem.model), problem.options.output)
    returned = torch.func.functional_call(problem.model, moved, copied.args, copied.kwargs)
    return pick_logits(returned, problem.options.output)


def _input_alone(record: Record) -> Record:
    """The record of a call, with the size and the layout of its output but without its values."""
    return replace(record, output=record.output.detach().to("meta"))


def _tangents_by_call(
    trace: Trace, group: Group, records: Records, scales: dict[str, Tensor]
) -> dict[CallSite, FirstTangents]:
    sites = dict.fromkeys(part.site for part in group.moved)
    return {
        site: first_tangents(
            trace,
            [part for part in group.moved if part.site == site],
            records[site],
            scales.get(site.layer),
        )
        for site in sites
    }


def _carried(
    problem: Problem,
    trace: Trace,
    group: Group,
    tangents: dict[CallSite, FirstTangents],
    piece: Batch,
) -> tuple[Tensor, Tensor]:
    """The tangents of a group at the logits, ``[b, C, q]``, and the logits."""
    parameters = problem.parameters

    def logits_of(coefficients: Tensor) -> tuple[Tensor, Tensor]:
        moved = {
            part.name: _moved(parameters[part.name], part.indices, coefficients[part.slots])
            for part in group.parameters
        }
        with _moving(trace, tangents, coefficients):
            logits = _forward(problem, trace, piece, moved)
        return logits, logits

    problem.state.rewind()
    start = torch.zeros(len(group.columns), dtype=trace.dtype, device=problem.device)
    try:
        with _one_call, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            columns, logits = torch.func.jacfwd(logits_of, has_aux=True)(start)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the same forward pass succeeded without tangents
        raise ForwardRefused(_said(error, trace)) from error
    return columns, logits


def _moved(parameter: Tensor, indices: Tensor, coefficients: Tensor) -> Tensor:
    """The parameter with coefficients added to some of its scalars."""
    flat = parameter.detach().flatten()
    added = flat.index_add(0, indices.to(flat.device), coefficients.to(flat.dtype))
    return added.view(parameter.shape)


@contextmanager
def _moving(
    trace: Trace, tangents: dict[CallSite, FirstTangents], coefficients: Tensor
) -> Iterator[None]:
    """Adds to layers' outputs the change by their moved scalars, ahead of the caller's hooks."""
    handles = []
    try:
        for name in dict.fromkeys(site.layer for site in tangents):
            hook = _add_change(name, tangents, coefficients)
            module: nn.Module = trace.layers[name].module
            handles.append(module.register_forward_hook(hook, prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add_change(
    name: str, tangents: dict[CallSite, FirstTangents], coefficients: Tensor
) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    calls = 0

    def add(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        nonlocal calls
        first = tangents.get(CallSite(name, calls))
        calls += 1
        return output if first is None else output + first.times(coefficients.to(output.dtype))

    return add


@contextmanager
def _differentiable_attention() -> Iterator[None]:
    """Attention by operations with forward derivatives, in place of the fused one without."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _said(error: Exception, trace: Trace) -> str:
    """An error's first line, in which torch names its own operations, not a model's functions."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    functions = {node.name() for node in trace.users if hasattr(node, "_forward_cls")}
    named = f" ({', '.join(sorted(functions))})" if "autograd.Function" in lines[0] else ""
    return lines[0].rstrip(".") + named
