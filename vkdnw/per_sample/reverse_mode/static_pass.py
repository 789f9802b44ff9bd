"""A chunk of a model whose graph is static: a forward pass without autograd, and a tape.

Where symbols have told the graph (:mod:`vkdnw.per_sample.probing.symbolic`), the tape of the
backward pass is compiled once, before any chunk is run, and a chunk's forward pass makes only what
the tape and the picks read: the inputs of layers, and masks. Autograd has the part above the tape's
entries, which is the head of a network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from vkdnw.backward.graph import consumers_below
from vkdnw.backward.layers.convolution import NativeConvolution
from vkdnw.backward.tape import Region
from vkdnw.backward.tape_compiler import compile_tape
from vkdnw.backward.tape_gradients import TapeReadings, make_tape_readings
from vkdnw.backward.tape_nodes import TapeLayer
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.relu import rectify, relu_mask
from vkdnw.per_sample.capture import CallSite, Record, Records, output_edge
from vkdnw.per_sample.fusion.apply import folded_weights
from vkdnw.per_sample.fusion.find import Fusion
from vkdnw.per_sample.known_layers import pair
from vkdnw.per_sample.plan import Plan
from vkdnw.per_sample.probing.symbolic import Metadata, Symbol
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.reverse_mode.gradient_sinks import ForwardPass, Sources, edge_key


class Step:
    """A step of the forward pass, and its node in the graph that a tape is compiled from.

    Towards the compiler it stands for a node of autograd: it has torch's name for it, and tells
    what such a node would have saved.
    """

    _forward_cls: type[Step] | None = None  # of steps that say themselves how a tape has them

    def __init__(self, symbol: Symbol, reads: tuple[Step, ...], run: Callable[..., Any]) -> None:
        self.reads, self.run = reads, run
        self.nodes = reads  # where its gradient flows
        self.sites: tuple[CallSite, ...] = ()  # the layers that it computes, in order
        self.name = symbol.name
        self._input_metadata: tuple[Metadata] = symbol._input_metadata
        self.saved: dict[str, Any] = {}

    @cached_property
    def next_functions(self) -> tuple[tuple[Step, int], ...]:
        """The nodes that its gradient flows to, as autograd's nodes tell them."""
        return tuple((node, 0) for node in self.nodes)

    def __getattr__(self, name: str) -> Any:
        """``_saved_...``, as of autograd's nodes."""
        saved = self.__dict__.get("saved", {})
        if name.startswith("_saved_") and name.removeprefix("_saved_") in saved:
            return saved[name.removeprefix("_saved_")]
        raise AttributeError(name)


class _Rectification(Step):
    """A ReLU. On a tape, each chunk has a mask of its own in the place of this step."""

    with_mask = False  # whether the mask comes with the output

    @staticmethod
    def tape_layer(node: _Rectification) -> TapeLayer:
        return TapeLayer(Layer.IDENTITY, mask=lambda: node)  # type: ignore[arg-type,return-value]


class _Convolution(Step):
    """A convolution with a native data gradient, that of a ReLU in front included."""

    native: NativeConvolution
    mask: _Rectification | None = None

    @staticmethod
    def tape_layer(node: _Convolution) -> TapeLayer:
        return node.native.tape_layer(node.mask, None)  # type: ignore[arg-type]


_Rectification._forward_cls = _Rectification
_Convolution._forward_cls = _Convolution


@dataclass(frozen=True)
class StaticPass:
    """The forward pass of a chunk, compiled, and the tape of its backward pass.

    The tape's masks are steps; each chunk puts its own there.
    """

    below: tuple[Step, ...]  # in order, the input first; without autograd
    above: tuple[Step, ...]  # from the tape's entries on, with autograd
    taped: TapeReadings
    sites: frozenset[CallSite]  # that a plan reads
    masks: tuple[_Rectification, ...]  # in the order of the tape's masks
    last_read: dict[Step, list[Step]]  # by step: of what it is the last reader

    def run(self, images: Tensor) -> ForwardPass:
        """Logits ``[b, C]``, records of the layers that are read, and where gradients are."""
        values: dict[Step, Tensor] = {}
        records: Records = {}
        masks: dict[_Rectification, Tensor] = {}
        with torch.no_grad():
            for step in self.below:
                self._take(step, images, values, records, masks)
                for source in self.last_read.get(step, ()):
                    del values[source]  # records keep what picks read
        entries = self.taped.tape.entries
        for entry in entries:
            values[entry] = values[entry].requires_grad_(True)
        for step in self.above:
            self._take(step, images, values, records, masks)
        tape = replace(self.taped.tape, masks=tuple(masks[mask] for mask in self.masks))
        entry_edges = {entry: get_gradient_edge(values[entry]) for entry in entries}
        edges = [record.edge for record in records.values() if record.edge is not None]
        sources = Sources(
            {edge_key(edge): edge for edge in (*edges, *entry_edges.values())},
            {},
            replace(self.taped, tape=tape),
            {entry: edge_key(edge) for entry, edge in entry_edges.items()},
        )
        return ForwardPass(values[self.above[-1]], records, lambda _: sources)

    def _take(
        self,
        step: Step,
        images: Tensor,
        values: dict[Step, Tensor],
        records: Records,
        masks: dict[_Rectification, Tensor],
    ) -> None:
        read = [values[source] for source in step.reads] or [images]
        made: Any = step.run(*read)
        if isinstance(step, _Rectification):
            if step.with_mask:
                made, masks[step] = made
            elif step in self.masks:
                masks[step] = relu_mask(made.contiguous(memory_format=torch.channels_last))
        values[step] = made
        x = read[0]
        for site in step.sites:
            if site in self.sites:
                edge = output_edge(made) if made.requires_grad else None
                records[site] = Record(x, x._version, made, made._version, edge)
            x = made  # the layer behind, computed with this one, reads its output


def static_pass(trace: Trace, plan: Plan, fusions: tuple[Fusion, ...]) -> StaticPass | None:
    """The pass of a plan without dense rows and fallback; None where autograd has to make one.

    All that is chosen has to be on the tape, or above it.
    """
    if trace.graph is None or trace.plain or plan.dense or plan.fallback or not plan.entries:
        return None
    steps = _Compiler(trace, fusions).steps()
    makers = {site: step for step in steps for site in step.sites}
    nodes = [makers[entry.site] for entry in plan.entries]
    tape = compile_tape([Region(tuple(nodes))], consumers_below(steps[-1]))
    if tape is None:
        return None
    (values,) = tape.numbers
    above = _above(steps[-1], tape.entries)
    if any(node not in values and node not in above for node in nodes):
        return None
    if any(isinstance(step, _Convolution) or len(step.sites) > 1 for step in above):
        return None  # computed with another layer, whose gradient is not torch's
    if any(source in above for step in steps if step not in above for source in step.reads):
        return None
    read = {
        number: (values[node], entry.grad_channels)
        for number, (node, entry) in enumerate(zip(nodes, plan.entries, strict=True))
        if node in values
    }
    return StaticPass(
        tuple(step for step in steps if step not in above),
        tuple(step for step in steps if step in above),
        make_tape_readings(tape, read),
        frozenset(entry.site for entry in plan.entries),
        tape.masks,  # type: ignore[arg-type]
        _last_read(steps),
    )


def _last_read(steps: list[Step]) -> dict[Step, list[Step]]:
    """The values that no later step reads, by the step that reads them last."""
    reader = {source: step for step in steps for source in step.reads}
    last: dict[Step, list[Step]] = {}
    for source, step in reader.items():
        last.setdefault(step, []).append(source)
    return last


def _above(root: Step, entries: tuple[Step, ...]) -> set[Step]:
    """The steps that follow from the entries, on the way to the logits."""
    found: set[Step] = set()
    waiting = [root]
    while waiting:
        step = waiting.pop()
        if step not in found and step not in entries:
            found.add(step)
            waiting += step.reads
    return found


class _Compiler:
    """Makes steps of symbols, layers that are computed together in one."""

    def __init__(self, trace: Trace, fusions: tuple[Fusion, ...]) -> None:
        assert trace.graph is not None
        self._trace, self._graph, self._modules = trace, trace.graph, trace.graph.modules
        self._by_conv = {fusion.conv: fusion for fusion in fusions}
        self._norms = {fusion.norm.name for fusion in fusions if fusion.norm is not None}
        self._relus = {fusion.relu for fusion in fusions if fusion.relu is not None}
        self._rectified: dict[Step, _Rectification] = {}  # by input: parallel branches share one

    def steps(self) -> list[Step]:
        """In the order of the symbols."""
        made: dict[Symbol, Step] = {}
        calls: Counter[str] = Counter()
        for symbol in self._graph.symbols:
            step = self._step(symbol, tuple(made[source] for source in symbol.sources))
            step.sites += (CallSite(symbol.layer, calls[symbol.layer]),)
            calls[symbol.layer] += 1
            made[symbol] = step
        return list(dict.fromkeys(made.values()))

    def _step(self, symbol: Symbol, reads: tuple[Step, ...]) -> Step:
        layer = symbol.layer
        if layer in self._norms:
            return reads[0]
        if layer in self._relus:
            if reads[0] not in self._rectified:
                self._rectified[reads[0]] = _Rectification(symbol, reads, rectify)
                self._rectified[reads[0]].with_mask = True
            return self._rectified[reads[0]]
        if symbol.kind == "ConvolutionBackward0":
            return self._convolution(symbol, reads)
        if not layer:
            return _unlayered(symbol, reads)
        module = self._modules[layer]
        kind = _Rectification if isinstance(module, nn.ReLU) else Step
        step = kind(symbol, reads, module.forward)
        step.saved = _saved(module, symbol)
        return step

    def _convolution(self, symbol: Symbol, reads: tuple[Step, ...]) -> Step:
        conv: Any = self._modules[symbol.layer]
        fusion = self._by_conv.get(symbol.layer)
        if fusion is None:
            weight, run = conv.weight.detach(), conv.forward
        else:
            weight, bias = folded_weights(self._trace, fusion, conv)
            run = partial(conv._conv_forward, weight=weight, bias=bias)
        if fusion is None or fusion.gradient is None:
            step = Step(symbol, reads, run)
            step.saved = {
                "weight": weight,
                "transposed": False,
                **{
                    name: getattr(conv, name)
                    for name in ("stride", "padding", "dilation", "groups")
                },
            }
            return step
        native = _Convolution(symbol, reads, run)
        native.native = NativeConvolution(conv, fusion.gradient, weight, lambda x: (run(x), None))
        if fusion.relu is not None:
            (relu,) = reads
            assert isinstance(relu, _Rectification)
            native.mask, native.nodes = relu, relu.nodes
        return native


_SIZES = ("stride", "padding", "dilation", "groups")


def _unlayered(symbol: Symbol, reads: tuple[Step, ...]) -> Step:
    """The input, a sum of two maps, or a product with a number."""
    if symbol.kind == "AddBackward0":
        step = Step(symbol, reads, torch.add)
        step.saved = {"alpha": 1}
        return step
    if symbol.kind == "MulBackward0":
        step = Step(symbol, reads, partial(torch.mul, other=symbol.factor))
        step.saved = {"other": torch.tensor(symbol.factor, device="cpu")}
        return step
    return Step(symbol, reads, lambda images: images)


def _saved(module: nn.Module, symbol: Symbol) -> dict[str, Any]:
    """The values that the node of a layer would have saved, as far as a tape asks for them."""
    if isinstance(module, nn.BatchNorm2d):
        names: tuple[str, ...] = ("running_var", "eps", "weight", "training")
    elif isinstance(module, nn.AvgPool2d):
        names = ("ceil_mode", "count_include_pad", "divisor_override")
        sizes = {name: pair(getattr(module, name)) for name in ("kernel_size", "stride", "padding")}
        return {**{name: getattr(module, name) for name in names}, **sizes}
    elif isinstance(module, nn.AdaptiveAvgPool2d):
        return {"self_sym_sizes": symbol.sources[0].shape, "dim": (-2, -1), "keepdim": True}
    else:
        names = ()
    return {name: getattr(module, name) for name in names}
