"""Symbolic tracing: the graph of a model that is made of known layers, without running them.

Where each module is a layer of torch's whose graph is known, or of a class that declares its graph
static (:mod:`vkdnw.per_sample.known_layers`), a pass with symbols in the place of feature maps
tells the same as a probe in a tenth of the time. Its findings decide about speed alone, like the
findings of a probe: every call is verified against plain autograd
(:mod:`vkdnw.per_sample.verification`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.backward.layers import replaced_forwards
from vkdnw.per_sample.capture import CallSite, Record, Records
from vkdnw.per_sample.known_layers import (
    BATCH_NORM,
    IDENTITY,
    LAYERS,
    PLAIN,
    NotSymbolicError,
    Shape,
)
from vkdnw.per_sample.problem import Problem
from vkdnw.runtime.layouts import channels_last_is_safe


class Metadata(NamedTuple):
    """The metadata that autograd's nodes have of their outputs."""

    shape: Shape
    dtype: torch.dtype
    device: torch.device


@dataclass
class _Pass:
    """A running pass with symbols: the symbols made so far."""

    dtype: torch.dtype
    device: torch.device
    made: list[Symbol] = field(default_factory=list)

    def ended(self) -> tuple[Symbol, ...]:
        """The symbols, in order; from then on they are in no cycle of references."""
        made = tuple(self.made)
        self.made.clear()
        return made


class Symbol:
    """Stands for a feature map, and for the node of the autograd graph that makes it."""

    __slots__ = ("_pass", "factor", "kind", "layer", "shape", "sources")

    def __init__(
        self,
        within: _Pass,
        kind: str,
        shape: Shape,
        sources: tuple[Symbol, ...] = (),
        layer: str = "",
        factor: float = 1.0,
    ) -> None:
        self.kind, self.shape, self.sources = kind, shape, sources
        self.layer = layer  # the module's name; empty for sums, products and the input
        self.factor = factor  # of a product
        self._pass = within
        within.made.append(self)

    def followed(self, kind: str, shape: Shape, layer: str) -> Symbol:
        """The output of a layer that reads this."""
        return Symbol(self._pass, kind, shape, (self,), layer)

    def __add__(self, other: object) -> Symbol:
        if not isinstance(other, Symbol) or other.shape != self.shape:
            raise NotSymbolicError
        return Symbol(self._pass, "AddBackward0", self.shape, (self, other))

    def __mul__(self, factor: object) -> Symbol:
        if not isinstance(factor, int | float):
            raise NotSymbolicError
        return Symbol(self._pass, "MulBackward0", self.shape, (self,), factor=factor)

    def name(self) -> str:
        """The name that torch gives the node."""
        return self.kind

    @property
    def next_functions(self) -> tuple[tuple[Symbol, int], ...]:
        """The nodes that its gradient flows to, as autograd's nodes tell them."""
        return tuple((source, 0) for source in self.sources)

    @property
    def _input_metadata(self) -> tuple[Metadata]:
        return (Metadata(self.shape, self._pass.dtype, self._pass.device),)


@dataclass
class SymbolicGraph:
    """The symbols of a pass in the order in which they were made, the input first."""

    layout: torch.memory_format  # of images
    dtype: torch.dtype
    device: torch.device
    modules: dict[str, nn.Module]
    symbols: tuple[Symbol, ...]
    _sized: dict[Shape, Tensor] = field(default_factory=dict)

    @property
    def logits(self) -> Symbol:
        """The last one."""
        return self.symbols[-1]

    def sized(self, shape: Shape) -> Tensor:
        """A tensor of a shape that holds one number; the same for the same shape."""
        if shape not in self._sized:
            one = torch.empty((), dtype=self.dtype, device=self.device)
            self._sized[shape] = one.expand(shape)
        return self._sized[shape]

    def records(self, layers: Collection[str]) -> Records:
        """The calls of some layers, in order, as a recorder would note them."""
        calls: Counter[str] = Counter()
        records: Records = {}
        for symbol in self.symbols:
            if symbol.layer in layers:
                node: Node = symbol
                (source,) = symbol.sources
                site = CallSite(symbol.layer, calls[symbol.layer])
                calls[symbol.layer] += 1
                read, made = self.sized(source.shape), self.sized(symbol.shape)
                records[site] = Record(read, 0, made, 0, GradientEdge(node, 0), source)
        return records

    def uses(self, users: dict[Symbol, list[Symbol]]) -> Counter[int]:
        """How many times each parameter is used, by its id; ``users`` are the nodes that logits
        depend on."""
        return Counter(
            id(parameter)
            for symbol in self.symbols
            if symbol.layer and symbol in users
            for parameter in self.modules[symbol.layer]._parameters.values()
            if parameter is not None
        )

    def activations(self) -> int:
        """Bytes that autograd would keep for the backward pass, weights left out."""
        kept = {
            id(each): each
            for symbol in self.symbols
            for each in _LAYERS_KEEP.get(symbol.kind, _nothing)(symbol)
        }
        maps = sum(torch.Size(each.shape).numel() for each in kept.values())
        statistics = sum(
            2 * symbol.shape[1] for symbol in self.symbols if symbol.kind == BATCH_NORM
        )
        return (maps + statistics) * self.dtype.itemsize


def symbolic_graph(problem: Problem, samples: int) -> SymbolicGraph | None:
    """The graph of the problem's model for a number of samples; None where a probe is needed."""
    images = problem.batch.args[0] if len(problem.batch.args) == 1 else None
    if (
        not isinstance(images, Tensor)
        or type(images) not in PLAIN
        or images.dim() != 4
        or problem.batch.kwargs
        or problem.options.output is not None
        or not problem.state.unwritten
        or any(module.training for module in problem.modules.values())
        or not all(p.dtype == images.dtype for p in problem.parameters.values())
    ):
        return None
    symbols = symbols_of(problem.model, problem.modules, images, samples)
    if not symbols or len(symbols[-1].shape) != 2 or symbols[-1].shape[1] < 2:
        return None
    safe = channels_last_is_safe(problem.modules.values())
    layout = torch.channels_last if safe else torch.contiguous_format
    return SymbolicGraph(layout, images.dtype, images.device, problem.modules, symbols)


def symbols_of(
    model: nn.Module, modules: Mapping[str, nn.Module], images: Tensor, samples: int
) -> tuple[Symbol, ...]:
    """The symbols of a pass of a model of known layers, in order; none where it does more.

    Args:
        modules: all of the model's, by name.
        images: ``[B, ...]``, of which the numbers do not matter.
        samples: that symbols stand for.
    """
    within = _Pass(images.dtype, images.device)
    given = Symbol(within, "AccumulateGrad", (samples, *images.shape[1:]))
    forwards = (
        (module, partial(_called, name, module))
        for name, module in modules.items()
        if type(module) in LAYERS
    )
    try:
        with replaced_forwards(forwards):
            returned = model(given)
    except Exception:  # if it is the caller's, a probe raises it again
        return ()
    symbols = within.ended()
    return symbols if returned is symbols[-1] else ()


def _called(name: str, module: nn.Module, x: Symbol) -> Symbol:
    kind, shape = LAYERS[type(module)]
    if not isinstance(x, Symbol):
        raise NotSymbolicError
    found = shape(module, x.shape)
    return x if kind == IDENTITY else x.followed(kind, found, name)


def _nothing(symbol: Symbol) -> tuple[Symbol, ...]:
    return ()


def _sources(symbol: Symbol) -> tuple[Symbol, ...]:
    return symbol.sources


_LAYERS_KEEP: dict[str, Callable[[Symbol], tuple[Symbol, ...]]] = {
    "AddmmBackward0": _sources,
    "AvgPool2DBackward0": _sources,
    "ConvolutionBackward0": _sources,
    BATCH_NORM: _sources,
    "ReluBackward0": lambda symbol: (symbol,),
}
"""By the name of a node: the maps that it keeps for the backward pass."""
