"""Compiles parts of an autograd graph to a tape of native data gradients.

The graph proves that the tape is right: a node is put on it only if its kind, its sizes and its
constants show that a native layer computes its backward, and if all nodes that it leads to are on
the tape as well. The nodes above, such as the head of a network, stay with autograd, which computes
the cotangents. Nodes that do not lead to a goal are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vkdnw.backward.graph import Node
from vkdnw.backward.node_kinds import kind_of
from vkdnw.backward.tape import Region, Tape, table
from vkdnw.backward.tape_nodes import TapeLayer, padded_channels
from vkdnw.ops.backpropagate import NONE, Layer, Norm

Shape = tuple[int, ...]

TAPE_DEVICES = {"cpu", "cuda"}
"""Types of devices that have a kernel for tapes; tapes with norms run on the CPU only."""


def compile_tape(regions: Sequence[Region], users: dict[Node, list[Node]]) -> Tape | None:
    """The tape that computes the gradients of some regions, or None where there is none.

    Regions that share layers share masks, weights and statistics. Goals that cannot be on the tape
    have no number; where a region has a start, there is no tape if its start or a goal cannot be on
    it, and a goal that receives no gradient from the start has no number.

    Args:
        users: the graph, see :func:`vkdnw.backward.graph.consumers`.
    """
    starts = [region.start for region in regions if region.start is not None]
    wanted = frozenset(starts).union(*(region.goals for region in regions))
    relevant = _leading_to(wanted, users)
    order = _from_the_leaves(relevant, users)
    shapes = _shapes_of_images(order)
    layers = _tape_layers(order, relevant, shapes)
    above = {node: {user in layers for user in users[node]} for node in layers}
    entries = tuple(
        node
        for node in reversed(order)
        if above.get(node) == {False} and any(source in layers for source, _ in node.next_functions)
    )
    # Gradients from above and from within the tape would have to be added up.
    if not entries or any(len(kinds) > 1 for kinds in above.values()):
        return None
    cuts = frozenset(starts).union(*(region.goals for region in regions if region.start))
    if any(node not in entries and above.get(node) != {True} for node in cuts):
        return None
    writer = _Writer(wanted, cuts, shapes, [_Part.of(region, users) for region in regions])
    entries = writer.add_cotangents(entries)
    for node in reversed(order):
        if above.get(node) == {True}:
            writer.add(node, layers[node], [(user, layers[user]) for user in users[node]])
    return writer.tape(entries)


def _leading_to(
    goals: Iterable[Node], users: dict[Node, list[Node]], start: Node | None = None
) -> set[Node]:
    """Some nodes and all nodes on the way of a gradient to them, below a start."""
    found = set(goals)
    waiting = list(found)
    while waiting:
        for user in users[waiting.pop()]:
            if user not in found and user is not start:
                found.add(user)
                waiting.append(user)
    return found


def _from_the_leaves(relevant: set[Node], users: dict[Node, list[Node]]) -> list[Node]:
    """The relevant nodes, each before its users."""
    missing = {
        node: sum(source in relevant for source, _ in node.next_functions) for node in relevant
    }
    waiting = [node for node, count in missing.items() if count == 0]
    order = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        for user in users[node]:
            missing[user] -= 1
            if missing[user] == 0:
                waiting.append(user)
    return order


def _tape_layers(
    order: list[Node], relevant: set[Node], shapes: dict[Node, Shape]
) -> dict[Node, TapeLayer]:
    """The layers of the nodes that the tape can take over, with everything below them."""
    layers: dict[Node, TapeLayer] = {}
    for node in order:
        sources = [
            (position, source, number)
            for position, (source, number) in enumerate(node.next_functions)
            if source in relevant
        ]
        if node not in shapes or any(source not in layers for _, source, _ in sources):
            continue
        read = kind_of(node).tape_layer
        layer = None if read is None else read(node)
        if not sources:
            layers[node] = _UNCHANGED  # nothing is asked of it
        elif layer is not None and all(
            number == 0 and _leads_to(layer, position, shapes[node] == shapes[source])
            for position, source, number in sources
        ):
            layers[node] = layer
    return layers


def _shapes_of_images(nodes: Iterable[Node]) -> dict[Node, Shape]:
    """The shapes of nodes' output gradients that the tape can hold as maps."""
    found = {}
    for node in nodes:
        metadata = node._input_metadata[0]  # made anew for each look
        shape = metadata.shape
        on = metadata.device.type
        if len(shape) == 4 and metadata.dtype == torch.float32 and on in TAPE_DEVICES:
            found[node] = tuple(shape)
    return found


def _leads_to(layer: TapeLayer, position: int, same_shape: bool) -> bool:
    """Whether the layer computes the gradient at this position."""
    if layer.layer == Layer.IDENTITY:  # of either term
        return same_shape  # nothing was broadcast
    return position == 0


# ---- writing ---------------------------------------------------------------------------------

_Term = tuple[Node, TapeLayer]  # the node that sends a gradient back, and how

_UNCHANGED = TapeLayer(Layer.IDENTITY)

_MASKED_LAYERS = frozenset(
    {
        Layer.IDENTITY,
        Layer.CONV3X3,
        Layer.CONV1X1,
        Layer.STRIDED_CONV,
        Layer.DEPTHWISE_CONV,
    }
)
"""Layers whose kernels apply a mask to the gradient that they compute."""


@dataclass(frozen=True)
class _Part:
    """A region that is being written."""

    region: Region
    members: set[Node] | None  # below the start, and on the way to a goal; None: every node
    number: dict[Node, int] = field(default_factory=dict)

    @classmethod
    def of(cls, region: Region, users: dict[Node, list[Node]]) -> _Part:
        if region.start is None:
            return cls(region, None)
        return cls(region, _leading_to(region.goals, users, region.start))

    def sources(self, node: Node, users: Iterable[Node]) -> set[Node]:
        """The users that send a node its gradient within the region."""
        if self.members is not None and node not in self.members:
            return set()
        return {user for user in users if user in self.number}


@dataclass
class _Writer:
    """A tape that is being written, values from the cotangents on.

    A gradient is written for all regions in turn, so that shared weights are fetched once.
    """

    wanted: frozenset[Node]  # goals and starts; each has a value
    cuts: frozenset[Node]  # those that share it with no other node
    shapes: dict[Node, Shape]
    parts: list[_Part]
    behind: dict[Node, list[_Term]] = field(default_factory=dict)  # ReLUs without a value
    values: list[tuple[int, ...]] = field(default_factory=list)
    terms: list[tuple[int, ...]] = field(default_factory=list)
    constants: dict[str, dict[int, tuple[int, Tensor]]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # weights and masks, by id: position and tensor
    made: dict[Callable[[], Tensor], Tensor] = field(default_factory=dict)
    norms: list[Norm] = field(default_factory=list)

    def add_cotangents(self, entries: tuple[Node, ...]) -> tuple[Node, ...]:
        """Adds the values with given gradients; returns the entries at which a region begins."""
        needed = entries if any(part.region.start is None for part in self.parts) else ()
        for node in needed:
            for part in self.parts:
                if part.region.start is None:
                    self._add_value(node, part)
        for part in self.parts:
            if part.region.start is not None:
                self._add_value(part.region.start, part)
        return needed

    def _add_value(self, node: Node, part: _Part) -> int:
        _, channels, height, width = self.shapes[node]
        part.number[node] = len(self.values)
        self.values.append((padded_channels(channels), height, width))
        return part.number[node]

    def add(self, node: Node, layer: TapeLayer, terms: list[_Term]) -> None:
        """A node whose gradient is the sum of the gradients from its users."""
        terms = [term for user, sent in terms for term in self._through(user, sent)]
        if node not in self.wanted and _takes_mask(layer, terms):
            self.behind[node] = terms
            return
        within = [part.sources(node, [user for user, _ in terms]) for part in self.parts]
        if len(terms) == 1 and terms[0][1] == _UNCHANGED and node not in self.cuts:
            for part, sources in zip(self.parts, within, strict=True):
                for user in sources:
                    part.number[node] = part.number[user]  # one gradient for both
            return
        # By layer and mask. Convolutions hide the cost of a first write to memory; copies do not.
        rows = sorted(
            (self._row(user, sent) for user, sent in terms),
            key=lambda row: (row[1] == Layer.IDENTITY, row[1], row[3]),
        )
        for part, sources in zip(self.parts, within, strict=True):
            if sources:
                destination = self._add_value(node, part)
                self.terms += [
                    (layer, part.number[user], destination, *constants)
                    for user, layer, *constants in rows
                    if user in sources
                ]

    def _row(self, user: Node, sent: TapeLayer) -> tuple[Any, ...]:
        """A term without its values: the source as a node, the layer and its constants."""
        return (
            user,
            int(sent.layer),
            self._position("weights", sent.weights),
            self._position("masks", sent.mask),
            sent.stride,
            sent.padding,
            self._norm(sent.norm),
        )

    def _through(self, user: Node, sent: TapeLayer) -> list[_Term]:
        """The term of a user, or of its users where it is a ReLU without a value."""
        if user not in self.behind:
            return [(user, sent)]
        return [(node, replace(of_node, mask=sent.mask)) for node, of_node in self.behind[user]]

    def _position(self, kind: str, make: Callable[[], Tensor] | None) -> int:
        if make is None:
            return NONE
        if make not in self.made:
            self.made[make] = make()
        tensor, known = self.made[make], self.constants[kind]
        return known.setdefault(id(tensor), (len(known), tensor))[0]

    def _norm(self, make: Callable[[], Norm] | None) -> int:
        if make is None:
            return NONE
        self.norms.append(make())
        return len(self.norms) - 1

    def tape(self, entries: tuple[Node, ...]) -> Tape:
        """All that was added."""
        return Tape(
            entries,
            tuple(part.number for part in self.parts),
            table(self.values, 3),
            table(self.terms, 8),
            tuple(tensor for _, tensor in self.constants["weights"].values()),
            tuple(tensor for _, tensor in self.constants["masks"].values()),
            tuple(self.norms),
        )


def _takes_mask(layer: TapeLayer, terms: list[_Term]) -> bool:
    """Whether all terms of a ReLU's gradient can apply its mask; the ReLU then needs no value."""
    is_relu = layer.layer == Layer.IDENTITY and layer.mask is not None
    return is_relu and all(sent.layer in _MASKED_LAYERS and sent.mask is None for _, sent in terms)
