"""Where output gradients are read: from a tape, from autograd, or from a native convolution.

A gradient that autograd is asked for lives until the end of its backward pass and is read from
memory again. A tape has it in cache, and so has the backward of a native convolution. There the few
channels that picks read are copied into a buffer, a sink, and the rest is freed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.backward.tape import Region
from vkdnw.backward.tape_compiler import compile_tape
from vkdnw.backward.tape_gradients import TapeReadings, make_tape_readings
from vkdnw.per_sample.capture import CallSite, Records
from vkdnw.per_sample.plan import Plan

EdgeKey = tuple[int, int]  # of a gradient edge: its node's id and the output's number


@dataclass
class GradientSink:
    """A buffer for some channels of one layer's output gradient."""

    channels: Tensor  # ascending
    buffer: Tensor  # [rows, len(channels), H, W]
    filled: bool = False

    def __call__(self, gradient: Tensor) -> None:
        """Copies the channels of a gradient ``[rows, C, H, W]`` that is passing by."""
        self.buffer.copy_(kept_channels(gradient, 1, self.channels))
        self.filled = True

    def finish(self) -> None:
        """Ends a backward pass: gradients that did not arrive are zero."""
        if not self.filled:
            self.buffer.zero_()
        self.filled = False


@dataclass(frozen=True)
class Sources:
    """Edges to ask autograd for, sinks by the layer in whose backward they sit, and a tape."""

    edges: dict[EdgeKey, GradientEdge]
    sinks: dict[str, GradientSink]
    taped: TapeReadings | None  # with it, there are no sinks
    entry_edges: dict[Node, EdgeKey]  # of the tape: the edge that has the gradient of each entry


@dataclass(frozen=True)
class ForwardPass:
    """The values of a chunk's forward pass that its backward passes read."""

    logits: Tensor  # [b, C]
    records: Records  # of the layers that are read
    sources: Callable[[torch.dtype], Sources]  # by the dtype in which gradients are read


def edge_of(records: Records, site: CallSite) -> GradientEdge:
    """The gradient edge of a call that the logits depend on."""
    edge = records[site].edge
    assert edge is not None  # plans hold only such calls
    return edge


def edge_key(edge: GradientEdge) -> EdgeKey:
    """The identity of an edge; a folded pair shares one."""
    return id(edge.node), edge.output_nr


def find_sources(
    plan: Plan,
    sites: list[CallSite],
    records: Records,
    users: dict[Node, list[Node]],
    dtype: torch.dtype,
    *,
    native: bool,
) -> Sources:
    """Splits calls by where their gradients are read; sinks have buffers of ``dtype``.

    Args:
        native: whether a tape may be made.
    """
    taped = _find_tape(plan, records, users, dtype) if native else None
    if taped is None:
        return _edges_and_sinks(plan, sites, records, users, dtype)
    on_tape = {plan.entries[number].site for number in taped.of_entry}
    asked = [edge_of(records, site) for site in sites if site not in on_tape]
    entry_edges = {node: GradientEdge(node, 0) for node in taped.tape.entries}
    asked += entry_edges.values()
    keys = {node: edge_key(edge) for node, edge in entry_edges.items()}
    return Sources({edge_key(edge): edge for edge in asked}, {}, taped, keys)


def _find_tape(
    plan: Plan, records: Records, users: dict[Node, list[Node]], dtype: torch.dtype
) -> TapeReadings | None:
    """The tape for the entries that can have one; dense rows read whole gradients."""
    if plan.dense or dtype != torch.float32:
        return None
    nodes = [edge_of(records, entry.site).node for entry in plan.entries]
    tape = compile_tape([Region(tuple(nodes))], users)
    if tape is None:
        return None
    (values,) = tape.numbers
    read = {
        number: (values[node], plan.entries[number].grad_channels)
        for number, node in enumerate(nodes)
        if node in values
    }
    return make_tape_readings(tape, read)


def _edges_and_sinks(
    plan: Plan,
    sites: list[CallSite],
    records: Records,
    users: dict[Node, list[Node]],
    dtype: torch.dtype,
) -> Sources:
    """A native convolution has a sink where its backward runs anyway, on the way to an edge.

    Calls are looked at from the input's side, so that few edges are needed.
    """
    sinkable = {plan.entries[n].site: layer for layer, ns in plan.sinks.items() for n in ns}
    running: set[Node] = set()
    edges: dict[EdgeKey, GradientEdge] = {}
    sinks: dict[str, GradientSink] = {}
    wanted = set(sites)
    for site in records:
        if site not in wanted:
            continue
        edge = edge_of(records, site)
        if site not in sinkable or edge.node not in running:
            edges[edge_key(edge)] = edge
            _add_users(edge.node, users, running)
        elif sinkable[site] not in sinks:
            sinks[sinkable[site]] = _sink(plan, sinkable[site], records[site].output, dtype)
    return Sources(edges, sinks, None, {})


def _sink(plan: Plan, layer: str, output: Tensor, dtype: torch.dtype) -> GradientSink:
    channels = plan.entries[plan.sinks[layer][0]].grad_channels
    rows, _, height, width = output.shape
    return GradientSink(channels, output.new_zeros(rows, len(channels), height, width, dtype=dtype))


def _add_users(node: Node, users: dict[Node, list[Node]], running: set[Node]) -> None:
    """Adds every node that a gradient passes on its way to ``node``."""
    waiting = list(users.get(node, ()))
    while waiting:
        user = waiting.pop()
        if user not in running:
            running.add(user)
            waiting.extend(users[user])


def kept_channels(tensor: Tensor, axis: int, channels: Tensor) -> Tensor:
    """Some channels, given in ascending order; a view where they are neighbours."""
    numbers = channels.tolist()
    if not numbers:
        return tensor.narrow(axis, 0, 0)
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return tensor.narrow(axis, numbers[0], len(numbers))
    return torch.index_select(tensor, axis, channels.to(tensor.device, non_blocking=True))
