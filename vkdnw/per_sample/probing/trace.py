"""From a probe of the model, or symbols: which parameters a rule covers, which go to the fallback.

Everything that is decided about a model is decided here, once, from evidence: the autograd graph
says how often each parameter is used, so a parameter counts as covered only if every use is a
recorded call of a layer with a rule; gradients say exactly which rows of a layer belong to which
sample. All others go to the fallback.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.backward.graph import Node, consumers, consumers_below
from vkdnw.backward.layers.eligibility import is_native_pooling
from vkdnw.backward.parameter_uses import uses
from vkdnw.ops.library import native
from vkdnw.per_sample.capture import CallSite, Recorder, Records
from vkdnw.per_sample.probing.compare_train_mode import check_train_mode
from vkdnw.per_sample.probing.custom_functions import check_functions
from vkdnw.per_sample.probing.operations import Operation, operations, records_of
from vkdnw.per_sample.probing.probe import fewest_samples, run_probe, sample_rows
from vkdnw.per_sample.probing.symbolic import SymbolicGraph, symbolic_graph
from vkdnw.per_sample.problem import Problem
from vkdnw.rules import Rule, rule_for
from vkdnw.runtime.garbage_collection import gc_disabled

PASSING_MAPS = 4  # gradients of the largest layers that are alive at once on their way


@dataclass(frozen=True)
class TracedLayer:
    """A layer with a rule; ``leaves`` maps weight and bias to names of chosen parameters."""

    module: nn.Module
    rule: Rule
    leaves: dict[str, str]


@dataclass(frozen=True)
class Trace:
    """The findings of the probe; ``terms`` are the layer calls that use a covered parameter."""

    chosen: tuple[str, ...]  # parameters with chosen scalars, in the selection's order
    classes: int
    dtype: torch.dtype  # of the Jacobian: float64 for float64 logits, else float32
    layout: torch.memory_format | None  # of images; None leaves them as they were passed
    find_fewest: Callable[[], int]  # runs the model when it is first called
    layers: dict[str, TracedLayer]
    relus: dict[str, nn.ReLU]  # by module name; they may be fused with the layer behind them
    pools: dict[str, nn.Module]  # 3x3 average poolings of stride 1, by module name
    calls: tuple[CallSite, ...]  # of layers that own chosen parameters, in order
    operations: dict[str, tuple[Any, ...]]  # layers read off the graph, and their constants
    rows: dict[CallSite, int]  # rows of the layer's leading axis that belong to one sample
    terms: dict[str, tuple[tuple[CallSite, str], ...]]  # parameter name -> (call, leaf)
    concurrent: bool  # whether several threads may run the model at once
    mixing: str | None  # an operation that may carry numbers between samples
    roundings: frozenset[torch.dtype]  # to which numbers of samples are cast
    plain: bool  # whether layers are computed by torch alone, one by one
    fallback: tuple[str, ...]  # parameters differentiated sample by sample
    unreached: tuple[str, ...]  # parameters the logits do not depend on
    largest_map: int  # bytes of one sample's largest layer output
    mean_map: int  # bytes of one sample's mean layer output, at least one
    bytes_per_sample: int  # kept alive between forward and backward, and by the gradients
    logits: Tensor  # of the probe's samples; of symbols only the size
    graph: SymbolicGraph | None  # where the model was traced by symbols
    records: Records  # of the probe itself: layers with a rule, and ReLUs
    users: dict[Node, list[Node]]  # the probe's graph

    @property
    def by_sample(self) -> bool:
        """Whether every parameter is left to the fallback, so that nothing is run as a chunk."""
        return self.fallback == self.chosen

    @property
    def fewest(self) -> int:
        """Samples that a forward pass needs; ask where it matters only, for it takes one."""
        return self.find_fewest()

    def called(self, name: str) -> bool:
        """Whether all uses of a parameter are calls of layers, which hooks can reach."""
        return all(site.layer not in self.operations for site, _ in self.terms[name])

    def module(self, name: str) -> nn.Module:
        """A layer, a ReLU or a pooling by its name."""
        plain = self.relus.get(name) or self.pools.get(name)
        return plain if plain is not None else self.layers[name].module


def ruled_layers(problem: Problem) -> dict[str, TracedLayer]:
    """Layers with a rule, by module name; those without chosen parameters have no leaves."""
    names = {id(parameter): name for name, parameter in problem.parameters.items()}
    chosen = set(problem.selection.names)
    layers = {}
    for module_name, module in problem.modules.items():
        rule = rule_for(module)
        if rule is None:
            continue
        leaves = {
            leaf: names[id(parameter)]
            for leaf in ("weight", "bias")  # hooks and subclasses may add others
            if (parameter := module._parameters.get(leaf)) is not None
            and names[id(parameter)] in chosen
        }
        layers[module_name] = TracedLayer(module, rule, leaves)
    return layers


def _uncalled(layers: dict[str, TracedLayer], records: Records, problem: Problem) -> set[str]:
    """Chosen parameters that no layer with a rule was called with."""
    called = {name for site in records for name in layers[site.layer].leaves.values()}
    return {*problem.selection.names} - called


def _layer(found: Operation, problem: Problem) -> TracedLayer:
    module = found.module(problem.parameters)
    return TracedLayer(module, found.rule, found.leaves)


@gc_disabled()
def trace_model(problem: Problem) -> Trace:
    """Traces the model: by symbols where its graph is static, else by a probe.

    Raises:
        ValueError: the logits are unfit (see :func:`vkdnw.checks.check_logits`), or one sample's
            logits depend on the other samples, or on chance.
    """
    require_gradients(problem)
    layers = ruled_layers(problem)
    relus = {
        name: module
        for name, module in problem.modules.items()
        if type(module) is nn.ReLU and "forward" not in vars(module)
    }
    evidence = _symbolic(problem, layers, relus) or _probed(problem, layers, relus)
    layers, records = evidence.layers, evidence.records
    ruled = {site: record for site, record in records.items() if site.layer in layers}
    calls = parameter_calls(layers, ruled, evidence.users)
    unfit = _unfit(layers, evidence.rows, calls)
    unfit |= {
        layers[layer].leaves[leaf]
        for layer, leaf in evidence.lent
        if layer in layers and leaf in layers[layer].leaves
    }
    terms, fallback, unreached = _coverage(problem, calls, unfit, evidence.used)
    logits = evidence.logits
    samples = len(logits)
    sizes = {site: record.output.nbytes // samples for site, record in records.items()}
    calls_of_chosen = tuple(site for site in ruled if layers[site.layer].leaves)
    largest_map = max(sizes.values(), default=1)
    gradients = sum(sizes[site] for site in calls_of_chosen) + PASSING_MAPS * largest_map
    return Trace(
        chosen=problem.selection.names,
        classes=logits.shape[1],
        dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32,
        layout=evidence.layout,
        find_fewest=evidence.find_fewest,
        layers=layers,
        relus=relus,
        pools={
            name: module
            for name, module in problem.modules.items()
            if is_native_pooling(module) and "forward" not in vars(module) and native()
        },
        calls=calls_of_chosen,
        operations=evidence.constants,
        rows=evidence.rows,
        terms=terms,
        concurrent=evidence.concurrent,
        mixing=evidence.mixing,
        roundings=evidence.roundings,
        plain=not native(),
        fallback=fallback,
        unreached=unreached,
        largest_map=largest_map,
        mean_map=max(1, sum(sizes.values()) // max(1, len(sizes))),
        bytes_per_sample=evidence.activations + gradients,
        logits=logits,
        graph=evidence.graph,
        records=records,
        users=evidence.users,
    )


@dataclass(frozen=True)
class _Evidence:
    """The findings of a probe, or of a pass with symbols, about a model."""

    layers: dict[str, TracedLayer]  # with a rule, those read off the graph among them
    constants: dict[str, tuple[Any, ...]]  # of those
    records: Records  # of layers with a rule and of ReLUs
    rows: dict[CallSite, int]
    users: dict[Node, list[Node]]
    used: Counter[int]  # how often, by a parameter's id
    lent: set[tuple[str, str]]
    logits: Tensor
    layout: torch.memory_format
    activations: int  # bytes of one sample
    concurrent: bool
    mixing: str | None
    roundings: frozenset[torch.dtype]
    find_fewest: Callable[[], int]
    graph: SymbolicGraph | None = None


def _symbolic(
    problem: Problem, layers: dict[str, TracedLayer], relus: dict[str, nn.ReLU]
) -> _Evidence | None:
    """From symbols in the place of feature maps; None where the model's graph is not static."""
    samples = min(2, problem.batch.size)
    graph = symbolic_graph(problem, samples)
    if graph is None:
        return None
    records = graph.records(layers.keys() | relus.keys())
    rows = {site: 1 for site in records if site.layer in layers}
    users = consumers_below(graph.logits)
    logits = graph.sized(graph.logits.shape)
    return _Evidence(
        layers=layers,
        constants={},
        records=records,
        rows=rows,
        users=users,
        used=graph.uses(users),
        lent=set(),
        logits=logits,
        layout=graph.layout,
        activations=graph.activations() // samples + 1,
        concurrent=True,
        mixing=None,
        roundings=frozenset(),
        find_fewest=lambda: 1,
        graph=graph,
    )


def _probed(
    problem: Problem, layers: dict[str, TracedLayer], relus: dict[str, nn.ReLU]
) -> _Evidence:
    """From a run of the model on two samples."""
    recorder = Recorder({name: layer.module for name, layer in layers.items()} | relus)
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in problem.modules.values())
    with recorder.attached():
        probe = run_probe(problem, recorder)
    _check_graph(problem, probe.logits)
    left_something = problem.state.rewind()
    check_train_mode(problem, probe.samples)
    users = consumers(probe.logits)
    check_functions(problem, users, probe.samples)
    ruled = {site: probe.records[site] for site in probe.records if site.layer in layers}
    batched = {
        site: record
        for site, record in ruled.items()
        if layers[site.layer].rule.batched(layers[site.layer].module, record.input)
    }
    inlined = operations(users, problem.names, _uncalled(layers, ruled, problem))
    inlined_layers = {found.name: _layer(found, problem) for found in inlined}
    constants = {found.name: found.constants for found in inlined}
    read = records_of(inlined)
    rows = sample_rows(probe, batched | read)
    del batched
    probe = replace(probe, records=probe.records | read).released()
    del read
    logits = probe.logits
    return _Evidence(
        layers=layers | inlined_layers,
        constants=constants,
        records=probe.records,
        rows=rows,
        users=users,
        used=uses(users),
        lent=recorder.lent,
        logits=logits.detach(),
        layout=probe.layout,
        activations=probe.activations,
        # Hooks may keep values anywhere, and torch.func.functional_call writes into the module.
        concurrent=not (left_something or hooked or recorder.lent),
        mixing=probe.mixing,
        roundings=frozenset(() if probe.log is None else probe.log.roundings),
        find_fewest=cache(lambda: fewest_samples(problem, logits.shape, probe.layout, users)),
    )


def _check_graph(problem: Problem, logits: Tensor) -> None:
    """Refuses logits without a graph, unless frozen weights explain it."""
    if logits.requires_grad or not all(p.requires_grad for p in problem.parameters.values()):
        return
    raise ValueError(
        f"the logits of {type(problem.model).__name__} have no autograd graph, so they have no "
        "derivative: forward() detaches them, or computes them under torch.no_grad() or "
        "torch.inference_mode(); take that out of forward()"
    )


def plainly(trace: Trace) -> Trace:
    """The same rules, on layers that torch computes one by one, on one thread, images as passed."""
    return replace(trace, plain=True, layout=None, concurrent=False, pools={})


def without_rules(trace: Trace) -> Trace:
    """The same trace with every parameter left to the fallback."""
    return replace(plainly(trace), terms={}, fallback=trace.chosen, unreached=())


def require_gradients(problem: Problem) -> None:
    """Lets gradients flow from every chosen parameter, frozen ones included."""
    for name in problem.selection.names:
        if problem.parameters[name].is_floating_point():
            problem.parameters[name].requires_grad_(True)


Terms = dict[str, tuple[tuple[CallSite, str], ...]]


def parameter_calls(
    layers: dict[str, TracedLayer], records: Records, users: dict[Node, list[Node]]
) -> Terms:
    """For every chosen parameter: the recorded calls, and leaves in them, that logits depend on."""
    calls: dict[str, list[tuple[CallSite, str]]] = {}
    for site, record in records.items():
        if record.edge is None or record.edge.node not in users:
            continue
        for leaf, name in layers[site.layer].leaves.items():
            calls.setdefault(name, []).append((site, leaf))
    return {name: tuple(found) for name, found in calls.items()}


def _unfit(layers: dict[str, TracedLayer], rows: dict[CallSite, int], calls: Terms) -> set[str]:
    """Parameters of calls whose rows cannot be told apart by sample."""
    return {
        name
        for name, found in calls.items()
        for site, _ in found
        if site not in rows or (rows[site] > 1 and layers[site.layer].rule.single_row)
    }


def _coverage(
    problem: Problem, calls: Terms, unfit: set[str], used: Counter[int]
) -> tuple[Terms, tuple[str, ...], tuple[str, ...]]:
    """Splits the chosen parameters into those covered by rules, the fallback's, and unreached."""
    terms, fallback, unreached = {}, [], []
    for name in problem.selection.names:
        count = used[id(problem.parameters[name])]
        if count == 0:
            unreached.append(name)
        elif name in unfit or len(calls.get(name, ())) != count:
            fallback.append(name)
        else:
            terms[name] = calls[name]
    return terms, tuple(fallback), tuple(unreached)
