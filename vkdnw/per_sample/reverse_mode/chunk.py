"""The Jacobian of one chunk of samples: one forward pass, a backward pass for some cotangents.

No weight gradient is ever formed. Backward passes stop at the outputs of the chosen layers, and
each chosen scalar is a short correlation of its layer's input with the gradient of its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vkdnw.backward.graph import Node, consumers
from vkdnw.backward.parameter_uses import uses
from vkdnw.backward.tape import cotangents_at
from vkdnw.backward.tape_gradients import TapeReadings
from vkdnw.batch import Batch
from vkdnw.checks import check_logits
from vkdnw.ops.jacobian_columns import jacobian_columns_
from vkdnw.per_sample.capture import (
    CallSite,
    PathChanged,
    Record,
    Recorder,
    Records,
    output_gradients,
)
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.plan import DenseTerm, Entry, Plan
from vkdnw.per_sample.probing.operations import operations, records_of
from vkdnw.per_sample.probing.trace import Trace, parameter_calls
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.batched_vjp import AT_ONCE, CannotBatch, batched_vjp
from vkdnw.per_sample.reverse_mode.gradient_sinks import (
    EdgeKey,
    ForwardPass,
    Sources,
    edge_key,
    edge_of,
    find_sources,
    kept_channels,
)
from vkdnw.per_sample.reverse_mode.static_pass import StaticPass


def chunk_jacobian(
    problem: Problem,
    trace: Trace,
    plan: Plan,
    recorder: Recorder,
    piece: Batch,
    cotangents: Cotangents,
    together: int = 1,
    static: StaticPass | None = None,
) -> tuple[Tensor, Tensor]:
    """Derivatives of some linear combinations of a chunk's logits.

    Args:
        piece: ``b`` samples.
        cotangents: ``[K, C]``; row ``k`` asks for the derivative of ``cotangents[k] @ logits``.
        together: cotangents of one backward pass.
        static: the forward pass, where the model's graph is static; else autograd records one.

    Returns:
        Jacobian ``[b, K, P]`` (float64 for a float64 model, else float32; columns of the fallback
        still zero) and logits ``[b, C]``, detached.

    Raises:
        PathChanged: the findings of the probe do not hold for these samples.
    """
    if static is None:
        passed = _recorded(problem, trace, plan, recorder, piece)
    else:
        passed = static.run(piece.args[0])
    logits = passed.logits
    check_logits(logits, piece.size)
    jacobian = torch.zeros(
        piece.size, len(cotangents), plan.columns, dtype=trace.dtype, device=logits.device
    )
    if plan.entries or plan.dense:
        begun = begin(trace, plan, passed, cotangents, together)
        taped = begun.sources.taped
        for some in pulled(begun, recorder, cotangents, keep_graph=problem.keeps_graphs):
            gradients = {} if taped is None else taped.gradients(some.to_tape)
            add_columns(jacobian, begun, some, gradients)
    return jacobian, logits.detach()


def _recorded(
    problem: Problem, trace: Trace, plan: Plan, recorder: Recorder, piece: Batch
) -> ForwardPass:
    """The model's own forward pass, with autograd."""
    tracked = piece.with_leaves([])  # so that whatever is done to the inputs enters the graph
    with recorder.recording() as records:
        logits = problem.logits(tracked, rewind=not trace.concurrent)
    check_logits(logits, piece.size)
    users = consumers(logits)
    records |= _operations(problem, trace, users)
    _check_path(trace, logits, records)
    _check_uses(problem, trace, plan, records, users)
    sources = partial(find_sources, plan, _sites(plan), records, users, native=not trace.plain)
    return ForwardPass(logits, records, sources)


def _operations(problem: Problem, trace: Trace, users: dict[Node, list[Node]]) -> Records:
    """Records of the layers that are read off the graph, which must compute as in the probe."""
    if not trace.operations:
        return {}
    wanted = {name for layer in trace.operations for name in trace.layers[layer].leaves.values()}
    inlined = operations(users, problem.names, wanted)
    if any(trace.operations.get(one.name) != one.constants for one in inlined):
        raise PathChanged("an operation differs from the probe's")
    return records_of(inlined)


def _check_path(trace: Trace, logits: Tensor, records: Records) -> None:
    if tuple(records) != trace.calls:
        raise PathChanged("the layers called differ from the probe's")
    if logits.shape[1] != trace.classes:
        raise PathChanged("the number of classes differs from the probe's")
    for site in records.keys() & trace.rows.keys():
        rows = trace.rows[site]
        if records[site].input.shape[0] != rows * len(logits):
            raise PathChanged(f"{site.layer} holds another number of rows a sample")
        if not records[site].input_intact():
            raise RuntimeError(
                f"the input of {site.layer} was overwritten in place after the layer read it, "
                "so its gradient is lost (to autograd as well); use an out-of-place operation"
            )


def _check_uses(
    problem: Problem,
    trace: Trace,
    plan: Plan,
    records: Records,
    users: dict[Node, list[Node]],
) -> None:
    """Every use of a parameter must be, as in the probe, a call of its layer."""
    calls, used = parameter_calls(trace.layers, records, users), uses(users)
    for name in trace.chosen:
        if name in trace.fallback:
            continue
        expected = trace.terms.get(name, ())
        in_graph = sum(site.layer not in plan.fused for site, _ in expected)
        if calls.get(name, ()) != expected or used[id(problem.parameters[name])] != in_graph:
            raise PathChanged(f"{name} is used otherwise than by the probe's samples")


def _sites(plan: Plan) -> list[CallSite]:
    """The layer calls that a plan takes columns from."""
    parts: tuple[Entry | DenseTerm, ...] = (*plan.entries, *plan.dense)
    return list(dict.fromkeys(part.site for part in parts))


@dataclass(frozen=True)
class Begun:
    """A chunk between its forward pass and its backward passes."""

    trace: Trace
    plan: Plan
    records: Records
    logits: Tensor  # [b, C]
    inputs: list[Tensor]  # of the plan's entries
    dense_inputs: list[Tensor]
    dtype: torch.dtype  # in which columns are computed
    sources: Sources
    together: int  # cotangents of one backward pass


@dataclass(frozen=True)
class Pulled:
    """The gradients that autograd has computed for some cotangents."""

    first: int  # of the cotangents
    count: int
    flowing: dict[EdgeKey, Tensor | None]  # [count, ...] by edge
    to_tape: list[Tensor]  # its cotangents, if there is a tape: [count * b, D, H, W]


def begin(
    trace: Trace, plan: Plan, passed: ForwardPass, cotangents: Cotangents, together: int
) -> Begun:
    """Takes the channels that picks read, and finds where gradients will be read."""
    records, logits = passed.records, passed.logits
    with torch.no_grad():
        inputs = [_entry_input(trace, entry, records) for entry in plan.entries]
        dense_inputs = [
            _channels(trace, term.site, term.leaf, records[term.site], term.row_indices)
            for term in plan.dense
        ]
        dtype = _computing_dtype(trace, plan, records, [*inputs, *dense_inputs])
        inputs = [x.to(dtype) for x in inputs]
        dense_inputs = [x.to(dtype) for x in dense_inputs]
    sources = passed.sources(dtype)
    if sources.sinks:
        together = 1  # they hold one cotangent's gradients
    elif sources.taped is not None:
        together = _cotangents_of_tape(sources.taped, records, len(logits))
    if together < len(cotangents):  # they are read again, so they are copied close together
        inputs = [x.contiguous() for x in inputs]
    return Begun(trace, plan, records, logits, inputs, dense_inputs, dtype, sources, together)


def pulled(
    begun: Begun, recorder: Recorder, cotangents: Cotangents, *, keep_graph: bool
) -> Iterator[Pulled]:
    """Autograd's gradients, for some cotangents at a time; sinks hold the latest one's."""
    sources = begun.sources
    for first, flowing in _flowing_gradients(
        recorder, sources, begun.logits, cotangents, begun.together, keep_graph=keep_graph
    ):
        count = min(begun.together, len(cotangents) - first)
        by_edge = dict(zip(sources.edges, flowing, strict=True))
        to_tape = [
            cotangents_at(node, by_edge[edge], count) for node, edge in sources.entry_edges.items()
        ]
        yield Pulled(first, count, by_edge, to_tape)


def add_columns(jacobian: Tensor, begun: Begun, some: Pulled, taped: Mapping[int, Tensor]) -> None:
    """Adds the terms of the plan's picks and dense rows to ``jacobian [b, K, P]``.

    Args:
        taped: the gradients that the tape has computed, ``[count * b, Cg, H, W]`` each by the
            number of an entry.
    """
    trace, plan, records = begun.trace, begun.plan, begun.records
    rows = jacobian[:, some.first : some.first + some.count]  # [b, count, P]
    if plan.entries:
        read = _sink_gradients(trace, plan, begun.sources)
        for number, g in taped.items():
            by_cotangent = g.unflatten(0, (some.count, -1))
            read[number] = _gradient(trace, plan.entries[number].site, by_cotangent)
        by_entry = [
            read[number]
            if number in read
            else _entry_gradient(trace, entry, some.flowing, records, some.count).to(begun.dtype)
            for number, entry in enumerate(plan.entries)
        ]
        jacobian_columns_(rows, begun.inputs, by_entry, plan.picks, plan.affine)
    for term, x in zip(plan.dense, begun.dense_inputs, strict=True):
        g = _gradient(trace, term.site, _flowing(some.flowing, records, term.site, some.count))
        _add_dense(rows, trace, term, x, g.to(begun.dtype))


def _flowing_gradients(
    recorder: Recorder,
    sources: Sources,
    logits: Tensor,
    cotangents: Cotangents,
    together: int,
    *,
    keep_graph: bool,
) -> Iterator[tuple[int, list[Tensor | None]]]:
    """The first cotangent of each pass and the gradients ``[count, ...]`` at the sources' edges.

    Cotangents that cannot share a pass go one by one, to the same result.
    """
    edges = list(sources.edges.values())
    for first in range(0, len(cotangents), together):
        some = cotangents[first : first + together]
        if together > 1 and (sources.taped is None or logits.device.type in AT_ONCE):
            try:
                yield first, batched_vjp(logits, edges, some)
                continue
            except CannotBatch:
                pass
        one_by_one = []
        for k, cotangent in enumerate(some, start=first):
            with recorder.sinking(sources.sinks):
                keep = keep_graph or k < len(cotangents) - 1
                one_by_one.append(output_gradients(logits, edges, cotangent, keep_graph=keep))
            for sink in sources.sinks.values():
                sink.finish()
        yield first, _stacked(one_by_one)


def _stacked(one_by_one: list[list[Tensor | None]]) -> list[Tensor | None]:
    """Gradients of each cotangent as gradients of all; a view where there is one."""
    if len(one_by_one) == 1:
        return [None if g is None else g.unsqueeze(0) for g in one_by_one[0]]
    return [
        None if gradients[0] is None else torch.stack(gradients)
        for gradients in zip(*one_by_one, strict=True)
    ]


def _cotangents_of_tape(taped: TapeReadings, records: Records, samples: int) -> int:
    """Cotangents of one run of a tape: as many as the channels that are read allow.

    The budget has room for every recorded layer's whole gradient, which a tape does not keep.
    """
    room = sum(record.output.nbytes for record in records.values())
    return max(1, room // (4 * samples * max(1, taped.numbers)))


def _computing_dtype(
    trace: Trace, plan: Plan, records: Records, inputs: list[Tensor]
) -> torch.dtype:
    """The layers' dtype if they have but one; else, or if the logits are finer, the Jacobian's."""
    outputs = [records[site].output for site in _sites(plan)]
    dtypes = {tensor.dtype for tensor in (*inputs, *outputs)}
    if len(dtypes) == 1 and (torch.float64 in dtypes) == (trace.dtype == torch.float64):
        return dtypes.pop()
    return trace.dtype


def _sink_gradients(trace: Trace, plan: Plan, sources: Sources) -> dict[int, Tensor]:
    """Canonical views of the sinks' buffers, by the number of the entry that reads them."""
    views = {}
    for layer, sink in sources.sinks.items():
        for number in plan.sinks[layer]:
            buffer = sink.buffer.unsqueeze(0)
            views[number] = _gradient(trace, plan.entries[number].site, buffer)
    return views


def _flowing(
    captured: dict[EdgeKey, Tensor | None], records: Records, site: CallSite, count: int
) -> Tensor:
    """The gradients at a call's output ``[count, ...]``; its edge may be that of a value that the
    output is a view of."""
    flowing, output = captured.get(edge_key(edge_of(records, site))), records[site].output
    if flowing is None:  # no path from these logits: a gradient of zeros, never materialised
        flowing = torch.zeros((), dtype=output.dtype, device=output.device)
        flowing = flowing.expand(count, *output.shape)
    return flowing.reshape(count, *output.shape)


def _entry_input(trace: Trace, entry: Entry, records: Records) -> Tensor:
    """The few channels that picks read."""
    x = _channels(trace, entry.site, "weight", records[entry.site], entry.weight_indices)
    return kept_channels(x, 1, entry.input_channels)


def _entry_gradient(
    trace: Trace,
    entry: Entry,
    captured: dict[EdgeKey, Tensor | None],
    records: Records,
    count: int,
) -> Tensor:
    """The channels of output gradients that picks read, ``[count, b, Cg, G1, G2, G3]``."""
    flowing = _gradient(trace, entry.site, _flowing(captured, records, entry.site, count))
    return kept_channels(flowing, 2, entry.grad_channels)


def _channels(trace: Trace, site: CallSite, leaf: str, record: Record, indices: Tensor) -> Tensor:
    layer = trace.layers[site.layer]
    by_sample = _by_sample(record.input.detach(), 0, trace.rows[site])  # [b, r, ...]
    return layer.rule.channels(layer.module, leaf, by_sample, indices)


def _gradient(trace: Trace, site: CallSite, flowing: Tensor) -> Tensor:
    """Gradients ``[K, b * r, ...]`` at a layer's output in canonical form."""
    layer = trace.layers[site.layer]
    by_sample = _by_sample(flowing, 1, trace.rows[site])  # [K, b, r, ...]
    return layer.rule.gradient(layer.module, by_sample)


def _by_sample(tensor: Tensor, axis: int, rows: int) -> Tensor:
    """An axis of samples' rows as two; for lone rows in a fifth of the time of ``unflatten``."""
    return tensor.unsqueeze(axis + 1) if rows == 1 else tensor.unflatten(axis, (-1, rows))


def _add_dense(rows: Tensor, trace: Trace, term: DenseTerm, x: Tensor, g: Tensor) -> None:
    layer = trace.layers[term.site.layer]
    every = layer.rule.dense(layer.module, term.leaf, x, g, term.rows)  # [K, b, rows, size]
    chosen = every.flatten(2)[:, :, term.chosen.to(every.device, non_blocking=True)]
    rows[:, :, term.columns] += chosen.transpose(0, 1).to(rows.dtype)
