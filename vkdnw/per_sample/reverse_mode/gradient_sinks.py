"""Where output gradients are read: from a tape, asked of autograd, or tapped as they pass.

A gradient that autograd is asked for lives until the end of its backward pass and is read from
memory again. A tape, or else a native convolution's backward, has it in cache: there the few
channels that picks read are copied into a buffer, and the rest is let go.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.backward.tape import compile_tape
from vkdnw.per_sample.capture import CallSite, Records
from vkdnw.per_sample.plan import Plan
from vkdnw.per_sample.reverse_mode.replay import Replay, make_replay

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
        """Ends a backward pass: what did not pass by is zero."""
        if not self.filled:
            self.buffer.zero_()
        self.filled = False


@dataclass(frozen=True)
class Sources:
    """Edges to ask autograd for, sinks by the layer in whose backward they sit, and a tape."""

    edges: dict[EdgeKey, GradientEdge]
    sinks: dict[str, GradientSink]
    replay: Replay | None  # its seeds are among the edges; with it, nothing is tapped


def edge_of(records: Records, site: CallSite) -> GradientEdge:
    """The gradient edge of a call that the logits depend on."""
    edge = records[site].edge
    assert edge is not None  # plans hold only such calls
    return edge


def edge_key(edge: GradientEdge) -> EdgeKey:
    """What tells two edges apart; a folded pair shares one."""
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
    """Splits calls into those to replay, to ask for and to sink, into buffers of ``dtype``.

    Args:
        native: whether a tape may be made.
    """
    replay = _find_replay(plan, records, users, dtype) if native else None
    if replay is None:
        return _edges_and_taps(plan, sites, records, users, dtype)
    replayed = {plan.entries[number].site for number in replay.of_entry}
    asked = [edge_of(records, site) for site in sites if site not in replayed]
    asked += [GradientEdge(node, 0) for node in replay.tape.entries]
    return Sources({edge_key(edge): edge for edge in asked}, {}, replay)


def _find_replay(
    plan: Plan, records: Records, users: dict[Node, list[Node]], dtype: torch.dtype
) -> Replay | None:
    """The tape for the entries that can have one; dense rows read whole gradients."""
    if plan.dense or dtype != torch.float32:
        return None
    nodes = [edge_of(records, entry.site).node for entry in plan.entries]
    tape = compile_tape(nodes, users)
    if tape is None:
        return None
    read = {
        number: (tape.number[node], plan.entries[number].grad_channels)
        for number, node in enumerate(nodes)
        if node in tape.number
    }
    return make_replay(tape, read)


def _edges_and_taps(
    plan: Plan,
    sites: list[CallSite],
    records: Records,
    users: dict[Node, list[Node]],
    dtype: torch.dtype,
) -> Sources:
    """A native convolution is tapped where its backward runs anyway, on the way to an edge.

    Calls are looked at from the input's side, so that few edges are needed.
    """
    tappable = {plan.entries[n].site: layer for layer, ns in plan.sinks.items() for n in ns}
    running: set[Node] = set()
    edges: dict[EdgeKey, GradientEdge] = {}
    sinks: dict[str, GradientSink] = {}
    wanted = set(sites)
    for site in records:
        if site not in wanted:
            continue
        edge = edge_of(records, site)
        if site not in tappable or edge.node not in running:
            edges[edge_key(edge)] = edge
            _add_users(edge.node, users, running)
        elif tappable[site] not in sinks:
            sinks[tappable[site]] = _tap(plan, tappable[site], records[site].output, dtype)
    return Sources(edges, sinks, None)


def _tap(plan: Plan, layer: str, output: Tensor, dtype: torch.dtype) -> GradientSink:
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
    if len(channels) == 0:
        return tensor.narrow(axis, 0, 0)
    first, last = int(channels[0]), int(channels[-1])
    if last - first == len(channels) - 1:
        return tensor.narrow(axis, first, len(channels))
    return torch.index_select(tensor, axis, channels.to(tensor.device, non_blocking=True))
