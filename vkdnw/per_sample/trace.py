"""A probe of the model on two samples: what is called, what a rule covers, whether samples mix.

Everything that is decided about a model is decided here, once, from evidence: the autograd graph
says how often each parameter is used, so a parameter counts as covered only if every use is a
recorded call of a layer with a rule; gradients say exactly which rows of a layer belong to which
sample. What is not covered goes to the fallback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.checks import check_logits, pick_logits
from vkdnw.per_sample.capture import CallSite, Record, Recorder, Records
from vkdnw.per_sample.graph import Node, consumers, uses
from vkdnw.per_sample.problem import Problem
from vkdnw.rules import Rule, rule_for

LAYOUTS = (torch.channels_last, torch.contiguous_format)


@dataclass(frozen=True)
class Layer:
    """A layer with a rule; ``leaves`` maps weight and bias to names of chosen parameters."""

    module: nn.Module
    rule: Rule
    leaves: dict[str, str]


@dataclass(frozen=True)
class Trace:
    """What the probe found; ``terms`` are the layer calls that make up a covered parameter."""

    classes: int
    layout: torch.memory_format  # of images
    layers: dict[str, Layer]
    relus: dict[str, nn.ReLU]  # by module name; they may be fused with the layer behind them
    pools: dict[str, nn.AvgPool2d]  # 3x3 average poolings of stride 1, by module name
    calls: tuple[CallSite, ...]  # of layers that own chosen parameters, in order
    rows: dict[CallSite, int]  # rows of the layer's leading axis that belong to one sample
    terms: dict[str, tuple[tuple[CallSite, str], ...]]  # parameter name -> (call, leaf)
    fallback: tuple[str, ...]  # parameters differentiated sample by sample
    unreached: tuple[str, ...]  # parameters the logits do not depend on
    largest_map: int  # bytes of one sample's largest layer output
    bytes_per_sample: int  # kept alive between forward and backward, and by the gradients
    records: Records  # of the probe itself: layers with a rule, and ReLUs
    users: dict[Node, list[Node]]  # the probe's graph

    def module(self, name: str) -> nn.Module:
        """A layer, a ReLU or a pooling by its name."""
        plain = self.relus.get(name) or self.pools.get(name)
        return plain if plain is not None else self.layers[name].module


def ruled_layers(problem: Problem) -> dict[str, Layer]:
    """Layers with a rule, by module name; those without chosen parameters have no leaves."""
    names = {id(parameter): name for name, parameter in problem.model.named_parameters()}
    chosen = set(problem.selection.names)
    layers = {}
    for module_name, module in problem.model.named_modules():
        leaves = {
            leaf: names[id(parameter)]
            for leaf, parameter in module._parameters.items()
            if parameter is not None and names[id(parameter)] in chosen
        }
        rule = rule_for(module)
        if rule is not None:
            layers[module_name] = Layer(module, rule, leaves)
    return layers


def trace(problem: Problem) -> Trace:
    """Probes the model.

    Raises:
        ValueError: the logits are unfit (see :func:`vkdnw.checks.check_logits`), or one sample's
            logits depend on the other samples, or on chance.
    """
    require_gradients(problem)
    layers = ruled_layers(problem)
    relus = {
        name: module for name, module in problem.model.named_modules() if type(module) is nn.ReLU
    }
    recorder = Recorder({name: layer.module for name, layer in layers.items()} | relus)
    with recorder.attached():
        probe = _probe(problem, recorder)
    _check_repeatable(problem, probe)
    ruled = {site: probe.records[site] for site in probe.records if site.layer in layers}
    rows = _sample_rows(probe, ruled)
    users = consumers(probe.logits)
    terms, fallback, unreached = _coverage(problem, layers, ruled, rows, users)
    return Trace(
        classes=probe.logits.shape[1],
        layout=probe.layout,
        layers=layers,
        relus=relus,
        pools=_pools(problem.model),
        calls=tuple(site for site in ruled if layers[site.layer].leaves),
        rows=rows,
        terms=terms,
        fallback=fallback,
        unreached=unreached,
        largest_map=_largest_map(probe.records, probe.samples),
        bytes_per_sample=probe.bytes_per_sample,
        records=probe.records,
        users=users,
    )


_CELL_POOLING = ((3, 1, 1), ((3, 3), (1, 1), (1, 1)))  # kernel, stride, padding


def _pools(model: nn.Module) -> dict[str, nn.AvgPool2d]:
    """Average poolings as NAS-Bench-201 has them."""
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) is nn.AvgPool2d
        and (module.kernel_size, module.stride, module.padding) in _CELL_POOLING
        and not (module.count_include_pad or module.ceil_mode or module.divisor_override)
    }


def without_rules(found: Trace) -> Trace:
    """The same trace with every parameter left to the fallback."""
    reached = tuple(found.terms) + found.fallback + found.unreached
    return replace(found, terms={}, fallback=reached, unreached=())


def require_gradients(problem: Problem) -> None:
    """Lets gradients flow from every chosen parameter, frozen ones included."""
    parameters = dict(problem.model.named_parameters())
    for name in problem.selection.names:
        if parameters[name].is_floating_point():
            parameters[name].requires_grad_(True)


@dataclass(frozen=True)
class _Probe:
    samples: int
    layout: torch.memory_format
    inputs: tuple[Tensor, ...]  # the leaves of the floating-point inputs
    logits: Tensor
    records: Records
    bytes_per_sample: int


def _probe(problem: Problem, recorder: Recorder) -> _Probe:
    """Runs two samples, in channels-last if the model can take it."""
    has_images = any(tensor.dim() == 4 for _, tensor in problem.batch.tensors())
    for layout in LAYOUTS if has_images else LAYOUTS[1:]:
        try:
            return _probe_in(layout, problem, recorder)
        except RuntimeError:
            # A model may call .view() on what it takes for contiguous images; another error will
            # come again in the plain layout, and be the caller's.
            if layout == LAYOUTS[-1]:
                raise
    raise AssertionError("unreachable: the last layout returns or raises")


def _probe_in(layout: torch.memory_format, problem: Problem, recorder: Recorder) -> _Probe:
    samples = min(2, problem.batch.size)
    piece = problem.batch.chunk(slice(0, samples), layout)
    leaves: list[Tensor] = []
    piece = piece.with_leaves(leaves)
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        recorder.recording() as records,
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        logits = pick_logits(piece.forward(problem.model), problem.output)
    check_logits(logits, samples)
    weights = {p.untyped_storage().data_ptr() for p in problem.model.parameters()}
    activations = sum(size for pointer, size in saved.items() if pointer not in weights)
    gradients = sum(record.output.nbytes for record in records.values())
    return _Probe(
        samples,
        layout,
        tuple(leaves),
        logits,
        records,
        bytes_per_sample=(activations + 2 * gradients) // samples + 1,
    )


def _largest_map(records: Records, samples: int) -> int:
    return max((record.output.nbytes // samples for record in records.values()), default=1)


# Two forwards of the same shapes run the same kernels: what differs is more than rounding.
_REPEATABLE = {torch.float64: 1e-9, torch.float32: 1e-4}


def _check_repeatable(problem: Problem, probe: _Probe) -> None:
    """Runs the first sample again beside another companion; its logits must stay."""
    companion = 2 if problem.batch.size > 2 else 0
    index = torch.tensor([0, companion][: probe.samples], device=problem.device)
    piece = problem.batch.chunk(index, probe.layout)
    with torch.no_grad():
        again = pick_logits(piece.forward(problem.model), problem.output)[0]
    before = probe.logits.detach()[0]
    difference = float((again - before).abs().max())
    scale = float(before.abs().max())
    if difference > _REPEATABLE.get(before.dtype, 1e-2) * scale:
        raise ValueError(
            f"the logits of one sample change by {difference:.3g} (of {scale:.3g}) with the other "
            "samples of the batch or from call to call; per-sample derivatives need a model that "
            "treats samples apart: call model.eval(), and replace batch statistics and random "
            "operations"
        )


def _sample_rows(probe: _Probe, ruled: Records) -> dict[CallSite, int]:
    """Rows of each call that belong to one sample; calls not laid out by sample are left out.

    The gradient of one sample's logits must vanish exactly on the rows of the other sample.

    Raises:
        ValueError: it does not vanish on the other sample's input, so samples mix.
    """
    sites = [
        site
        for site, record in ruled.items()
        if record.edge is not None and _rows(record, probe.samples) is not None
    ]
    rows = {site: _rows(ruled[site], probe.samples) or 0 for site in sites}
    if probe.samples == 1:
        return rows
    edges: list[Any] = [ruled[site].edge for site in sites]
    generator = torch.Generator().manual_seed(0)
    for sample in range(2):
        cotangent = torch.zeros(probe.logits.shape, dtype=torch.float64)
        cotangent[sample] = torch.randn(cotangent.shape[1], generator=generator).double()
        if not (edges or probe.inputs) or not probe.logits.requires_grad:
            break
        gradients = torch.autograd.grad(
            probe.logits,
            [*edges, *probe.inputs],
            cotangent.to(probe.logits),
            retain_graph=True,
            allow_unused=True,
        )
        for gradient in gradients[len(edges) :]:
            if gradient is not None and gradient[1 - sample].any():
                raise ValueError(
                    "samples mix: the logits of one sample depend on another sample's input; "
                    "per-sample derivatives do not exist (batch statistics? attention across "
                    "the batch?)"
                )
        for site, gradient in zip(sites, gradients, strict=False):
            if gradient is None or site not in rows:
                continue
            other = gradient.unflatten(0, (2, rows[site]))[1 - sample]
            if other.any():
                del rows[site]
    return rows


def _rows(record: Record, samples: int) -> int | None:
    """Leading rows of a call per sample, if its input and output agree on them."""
    given, returned = record.input, record.output
    if given.dim() == 0 or given.shape[0] != returned.shape[0] or given.shape[0] % samples:
        return None
    return given.shape[0] // samples


def _coverage(
    problem: Problem,
    layers: dict[str, Layer],
    records: Records,
    rows: dict[CallSite, int],
    users: dict[Node, list[Node]],
) -> tuple[dict[str, tuple[tuple[CallSite, str], ...]], tuple[str, ...], tuple[str, ...]]:
    """Splits the chosen parameters into those covered by rules, the fallback's, and unreached."""
    parameters = dict(problem.model.named_parameters())
    used = uses(users)
    calls: dict[str, list[tuple[CallSite, str]]] = {}
    unfit: set[str] = set()
    for site, record in records.items():
        if record.edge is None or record.edge.node not in users:
            continue  # the logits do not depend on this call
        layer = layers[site.layer]
        fits = site in rows and (rows[site] == 1 or not layer.rule.single_row)
        for leaf, name in layer.leaves.items():
            calls.setdefault(name, []).append((site, leaf))
            if not fits:
                unfit.add(name)
    terms, fallback, unreached = {}, [], []
    for name in problem.selection.names:
        count = used[id(parameters[name])]
        if count == 0:
            unreached.append(name)
        elif name in unfit or len(calls.get(name, ())) != count:
            fallback.append(name)
        else:
            terms[name] = tuple(calls[name])
    return terms, tuple(fallback), tuple(unreached)
