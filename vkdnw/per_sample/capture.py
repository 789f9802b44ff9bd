"""Records the inputs of layers during a forward pass, and where their outputs enter the autograd
graph.

An output is kept as a *gradient edge*, not as a tensor: an in-place ReLU or ``y += x`` may
overwrite the tensor later, but the edge still names the value that the layer returned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vkdnw.backward.graph import Node


class CallSite(NamedTuple):
    """The ``ordinal``-th call of the module ``layer`` in one forward pass."""

    layer: str
    ordinal: int


class PathChanged(Exception):
    """The model called other layers than in the probe, or used parameters in another way."""


@dataclass(frozen=True)
class Record:
    """The record of one call of a layer."""

    input: Tensor
    input_version: int  # of the input when the layer read it
    output: Tensor
    output_version: int
    edge: GradientEdge | None  # None where no gradient flows into the output
    source: Node | None = None  # the edge of the input; known once its values are gone

    def without_values(self) -> Record:
        """The same record, with tensors of the same sizes that take no memory."""
        return replace(
            self,
            input=_of_size(self.input),
            input_version=0 if self.input_intact() else -1,
            output=_of_size(self.output),
            output_version=0 if self.output_intact() else -1,
            source=self.input.grad_fn,
        )

    def input_intact(self) -> bool:
        """Whether nothing has written into the input since the layer read it."""
        return self.input._version == self.input_version

    def output_intact(self) -> bool:
        """Whether nothing has written into the output since the layer returned it."""
        return self.output._version == self.output_version


Records = dict[CallSite, Record]
GradientSink = Callable[[Tensor], None]


class Recorder:
    """Forward hooks on some layers of a model; each thread records its own forward passes."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        self._layers = layers
        self._own = {name: _weights(layer) for name, layer in layers.items()}
        self.lent: set[tuple[str, str]] = set()
        """Layers, and leaves of them, that were called with other weights than their own."""
        self._current = threading.local()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Places the hooks, ahead of the caller's own, and removes them."""
        handles = []
        try:
            for name, layer in self._layers.items():
                hook = self._hook(name)
                handles.append(layer.register_forward_hook(hook, prepend=True, with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def recording(self) -> Iterator[Records]:
        """Collects the calls that this thread makes inside the block, in call order."""
        records: Records = {}
        self._current.records = records
        self._current.calls = {}
        self._current.substitutes = {}
        try:
            yield records
        finally:
            del self._current.records

    def substitute_input(self, name: str, x: Tensor) -> None:
        """Records ``x`` as the input of the layer that is running: a fused ReLU hid it."""
        if hasattr(self._current, "records"):
            self._current.substitutes[name] = x

    @contextmanager
    def sinking(self, sinks: Mapping[str, GradientSink]) -> Iterator[None]:
        """Passes the output gradients of native convolutions to ``sinks``, by layer, as they come.

        Reading a gradient while it is in cache costs less than storing it.
        """
        self._current.sinks = sinks
        try:
            yield
        finally:
            del self._current.sinks

    def sink(self, name: str, gradient: Tensor) -> None:
        """Called by a native convolution's backward with its output gradient."""
        sinks = getattr(self._current, "sinks", {})
        if name in sinks:
            sinks[name](gradient)

    def _note_lent(self, name: str, layer: nn.Module) -> None:
        """Records that a layer has other weights for a call (``torch.func.functional_call``)."""
        for leaf, own in self._own[name].items():
            if layer._parameters.get(leaf) is not own:
                self.lent.add((name, leaf))

    def _hook(self, name: str) -> Any:
        def record(layer: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
            records = getattr(self._current, "records", None)
            if records is None:
                return
            given = self._current.substitutes.pop(name, None)
            if given is None:
                given = args[0] if args else next(iter(kwargs.values()))
            if _cannot_be_noted(given) or _cannot_be_noted(output):
                return
            self._note_lent(name, layer)
            ordinal = self._current.calls.get(name, 0)
            self._current.calls[name] = ordinal + 1
            edge = output_edge(output) if output.requires_grad else None
            records[CallSite(name, ordinal)] = Record(
                given, given._version, output, output._version, edge
            )

        return record


def _cannot_be_noted(value: Any) -> bool:
    """Whether a value is not a tensor with a graph and a version that can be noted.

    Those of ``torch.func`` are wrappers, those of inference mode have none, and nested tensors have
    no sizes.
    """
    if not isinstance(value, Tensor) or value.is_nested:
        return True
    return value.is_inference() or torch._C._functorch.is_functorch_wrapped_tensor(value)


def _weights(layer: nn.Module) -> dict[str, Tensor | None]:
    return dict(layer._parameters.items())


def _of_size(tensor: Tensor) -> Tensor:
    return torch.empty((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def output_edge(output: Tensor) -> GradientEdge:
    """Where a layer's output enters the graph; the gradient there may have another shape.

    A layer may return a view of its result (Linear over positions does). Writing into a view
    rewrites the history of all of it, and the view's own node drops out of the graph.
    """
    base = output._base
    if (
        base is not None
        and base.grad_fn is not None
        and base.numel() == output.numel()
        and base.is_contiguous()
        and output.is_contiguous()
    ):
        output = base
    return get_gradient_edge(output)


def output_gradients(
    logits: Tensor, edges: list[GradientEdge], cotangent: Tensor, *, keep_graph: bool
) -> list[Tensor | None]:
    """Gradients at the edges for one cotangent ``[C]`` shared by all samples of the batch."""
    return list(
        torch.autograd.grad(
            logits,
            edges,
            cotangent.to(logits.dtype).expand_as(logits),
            retain_graph=keep_graph,
            allow_unused=True,
        )
    )
