"""Symbolic tracing: the graph of a model that is made of known layers, without running them.

A probe runs a model on two samples and looks at every operator, because a forward() may do
anything. Where each module is a layer of torch's whose graph is known, or of a class that declares
its graph static (:data:`STATIC_GRAPH`), a pass with symbols in the place of feature maps tells the
same in a tenth of the time. Its findings decide about speed alone, like the findings of a probe:
every call is verified against plain autograd (:mod:`vkdnw.per_sample.verification`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.nn.modules.module import _has_any_global_hook

from vkdnw.backward.graph import Node
from vkdnw.backward.layers import replaced_forwards
from vkdnw.per_sample.capture import CallSite, Record, Records
from vkdnw.per_sample.problem import Problem
from vkdnw.runtime.layouts import channels_last_is_safe

STATIC_GRAPH = "static_graph"
"""An attribute, True, of a class that defines ``forward()``: whatever the data and the device, that
calls submodules with feature maps, adds maps, multiplies them by numbers, and does nothing else
with them. Shapes may be read."""

PLAIN: set[type[Tensor]] = {Tensor, nn.Parameter}
"""The types of tensors on which no class of a user's computes."""

Shape = tuple[int, ...]


class NotSymbolicError(Exception):
    """A model does something else, so that only a probe can tell."""


class Metadata(NamedTuple):
    """The metadata that autograd's nodes have of their outputs."""

    shape: Shape
    dtype: torch.dtype
    device: torch.device


@dataclass
class _Pass:
    """A pass with symbols under way: those that it has made."""

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
            2 * symbol.shape[1] for symbol in self.symbols if symbol.kind == _BATCH_NORM
        )
        return (maps + statistics) * self.dtype.itemsize


def symbolic_graph(problem: Problem, samples: int) -> SymbolicGraph | None:
    """The graph of the problem's model for so many samples; None where only a probe can tell."""
    images = problem.batch.args[0] if len(problem.batch.args) == 1 else None
    if (
        not isinstance(images, Tensor)
        or type(images) not in PLAIN
        or images.dim() != 4
        or problem.batch.kwargs
        or problem.options.output is not None
        or _has_any_global_hook()
        or not all(_is_known(module) for module in problem.modules.values())
        or not all(map(_is_torchs, _LAYERS.keys() | _CONTAINERS))
        or not all(
            type(p) in PLAIN and p.dtype == images.dtype for p in problem.parameters.values()
        )
    ):
        return None
    safe = channels_last_is_safe(problem.modules.values())
    layout = torch.channels_last if safe else torch.contiguous_format
    within = _Pass(images.dtype, images.device)
    given = Symbol(within, "AccumulateGrad", (samples, *images.shape[1:]))
    forwards = (
        (module, partial(_called, name, module))
        for name, module in problem.modules.items()
        if type(module) in _LAYERS
    )
    try:
        with replaced_forwards(forwards):
            returned = problem.model(given)
    except Exception:  # if it is the caller's, a probe raises it again
        return None
    symbols = within.ended()
    if returned is not symbols[-1] or len(returned.shape) != 2 or returned.shape[1] < 2:
        return None
    return SymbolicGraph(layout, images.dtype, images.device, problem.modules, symbols)


def _is_known(module: nn.Module) -> bool:
    """Whether a module is a layer of the table, or declares that its graph is static."""
    held = vars(module)
    if module.training or not held.keys().isdisjoint(_METHODS):
        return False
    if (
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
    ):
        return False
    kind = type(module)
    if kind in _LAYERS:
        return True
    owner = next((each for each in kind.__mro__ if "forward" in vars(each)), nn.Module)
    return owner in _CONTAINERS or vars(owner).get(STATIC_GRAPH) is True


def _is_torchs(kind: type[nn.Module]) -> bool:
    """Whether a class of torch has the methods that it came with: programs replace them."""
    methods = (getattr(kind, name, None) for name in _METHODS)
    return all(each is None or each.__module__.startswith("torch.") for each in methods)


_METHODS = ("forward", "_conv_forward", "__call__")

_CONTAINERS = {nn.Sequential, nn.Module}  # of the second: ModuleDict and ModuleList, never called


# ---- layers ------------------------------------------------------------------------------------


def _called(name: str, module: nn.Module, x: Symbol) -> Symbol:
    kind, shape = _LAYERS[type(module)]
    if not isinstance(x, Symbol):
        raise NotSymbolicError
    found = shape(module, x.shape)
    return x if kind == _IDENTITY else x.followed(kind, found, name)


def _require(holds: bool) -> None:
    if not holds:
        raise NotSymbolicError


def _of_convolution(conv: Any, shape: Shape) -> Shape:
    _require(conv.padding_mode == "zeros" and not isinstance(conv.padding, str))
    _require(len(shape) == 4 and shape[1] == conv.in_channels)
    sides = _sides(shape, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return shape[0], conv.out_channels, *sides


def _of_pooling(pool: Any, shape: Shape) -> Shape:
    _require(len(shape) == 4 and not pool.ceil_mode)
    sizes = (pair(pool.kernel_size), pair(pool.stride), pair(pool.padding))
    return *shape[:2], *_sides(shape, *sizes, (1, 1))


def pair(size: Any) -> tuple[int, int]:
    """A size of both sides, as layers keep it: a number or two."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _sides(shape: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Shape:
    sides = tuple(
        (side + 2 * p - d * (k - 1) - 1) // s + 1
        for side, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    _require(min(sides) > 0)
    return sides


def _of_norm(norm: Any, shape: Shape) -> Shape:
    _require(len(shape) == 4 and shape[1] == norm.num_features)
    return shape


def _of_relu(relu: Any, shape: Shape) -> Shape:
    _require(not relu.inplace)
    return shape


def _of_mean(pool: Any, shape: Shape) -> Shape:
    _require(len(shape) == 4 and pool.output_size == 1)
    return *shape[:2], 1, 1


def _of_flatten(flatten: Any, shape: Shape) -> Shape:
    _require((flatten.start_dim, flatten.end_dim) == (1, -1))
    return shape[0], torch.Size(shape[1:]).numel()


def _of_linear(linear: Any, shape: Shape) -> Shape:
    _require(len(shape) == 2 and shape[1] == linear.in_features)
    return shape[0], linear.out_features


_IDENTITY = ""
_BATCH_NORM = "NativeBatchNormBackward0"

_LAYERS: dict[type[nn.Module], tuple[str, Callable[[Any, Shape], Shape]]] = {
    nn.AdaptiveAvgPool2d: ("MeanBackward1", _of_mean),
    nn.AvgPool2d: ("AvgPool2DBackward0", _of_pooling),
    nn.BatchNorm2d: (_BATCH_NORM, _of_norm),
    nn.Conv2d: ("ConvolutionBackward0", _of_convolution),
    nn.Flatten: ("ViewBackward0", _of_flatten),
    nn.Identity: (_IDENTITY, lambda _, shape: shape),
    nn.Linear: ("AddmmBackward0", _of_linear),
    nn.ReLU: ("ReluBackward0", _of_relu),
}
"""By a layer's very type: torch's name of its node, and the shape that it makes of one."""


def _nothing(symbol: Symbol) -> tuple[Symbol, ...]:
    return ()


def _sources(symbol: Symbol) -> tuple[Symbol, ...]:
    return symbol.sources


_LAYERS_KEEP: dict[str, Callable[[Symbol], tuple[Symbol, ...]]] = {
    "AddmmBackward0": _sources,
    "AvgPool2DBackward0": _sources,
    "ConvolutionBackward0": _sources,
    _BATCH_NORM: _sources,
    "ReluBackward0": lambda symbol: (symbol,),
}
"""By the name of a node: the maps that it keeps for the backward pass."""
