"""Compiles the lower part of a chunk's autograd graph to a tape of native data gradients.

The graph proves that the tape is right: a node is put on it only if its kind, its sizes and its
constants show that a native layer computes its backward, and if all nodes that it leads to are on
the tape as well. The nodes above, such as the head of a network, stay with autograd, which computes
the seeds. Nodes that lead to no chosen layer are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vkdnw.backward.graph import Node
from vkdnw.backward.node_kinds import Backward, backward_of, padded_channels
from vkdnw.ops.backpropagate import NONE, Layer, Norm, backpropagate_

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tape:
    """The arguments of :func:`vkdnw.ops.backpropagate.backpropagate_` but seeds and readings."""

    entries: tuple[Node, ...]  # whose gradients are the seeds, in their order
    number: dict[Node, int]  # the value that holds the gradient at a node's output
    values: Tensor  # [V, 3]
    terms: Tensor  # [T, 8]
    weights: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    norms: tuple[Norm, ...]

    def run(
        self,
        planes: Tensor,
        seeds: Sequence[Tensor],
        readings: Tensor,
        matrices: Tensor | None = None,
        products: Tensor | None = None,
    ) -> None:
        """Writes the channels that are read into ``planes``, and products into ``matrices``."""
        tables = self.values, self.terms, readings, self.norms, matrices, products
        backpropagate_(planes, seeds, self.weights, self.masks, *tables)


def compile_tape(
    wanted: Iterable[Node], users: dict[Node, list[Node]], cuts: Iterable[Node] = ()
) -> Tape | None:
    """The tape that leads to the outputs of ``wanted`` nodes, or None where there is none.

    Args:
        wanted: nodes of the graph whose output gradients are asked for.
        users: the graph, see :func:`vkdnw.backward.graph.consumers`.
        cuts: wanted nodes that share their values with no other node.
    """
    wanted = frozenset(wanted)
    relevant = _leading_to(wanted, users)
    order = _from_the_leaves(relevant, users)
    shapes = _shapes_of_images(order)
    backwards = _region(order, relevant, shapes)
    above = {node: {user in backwards for user in users[node]} for node in backwards}
    entries = tuple(
        node
        for node in reversed(order)
        if above.get(node) == {False}
        and any(source in backwards for source, _ in node.next_functions)
    )
    # Gradients from above and from within the tape would have to be added up.
    if not entries or any(len(kinds) > 1 for kinds in above.values()):
        return None
    writer = _Writer(wanted, frozenset(cuts), shapes)
    for node in entries:
        writer.add_value(node)
    for node in reversed(order):
        if above.get(node) == {True}:
            sent = [(user, backwards[user]) for user in users[node]]
            writer.add(node, backwards[node], sent)
    return writer.tape(entries)


def _leading_to(wanted: Iterable[Node], users: dict[Node, list[Node]]) -> set[Node]:
    """The wanted nodes and everything that a gradient passes on its way to them."""
    found = set(wanted)
    waiting = list(found)
    while waiting:
        for user in users[waiting.pop()]:
            if user not in found:
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


def _region(
    order: list[Node], relevant: set[Node], shapes: dict[Node, Shape]
) -> dict[Node, Backward]:
    """The nodes that the tape can take over, with everything below them."""
    region: dict[Node, Backward] = {}
    for node in order:
        sources = [
            (position, source, number)
            for position, (source, number) in enumerate(node.next_functions)
            if source in relevant
        ]
        if node not in shapes or any(source not in region for _, source, _ in sources):
            continue
        backward = backward_of(node)
        if not sources:
            region[node] = Backward(Layer.IDENTITY)  # nothing is asked of it
        elif backward is not None and all(
            number == 0 and _leads_to(backward, position, shapes[node] == shapes[source])
            for position, source, number in sources
        ):
            region[node] = backward
    return region


def _shapes_of_images(nodes: Iterable[Node]) -> dict[Node, Shape]:
    """Of the nodes whose output gradients are maps that the tape can hold."""
    found = {}
    for node in nodes:
        metadata = node._input_metadata[0]  # made anew for each look
        shape = metadata.shape
        if len(shape) == 4 and metadata.dtype == torch.float32 and metadata.device.type == "cpu":
            found[node] = tuple(shape)
    return found


def _leads_to(backward: Backward, position: int, same_shape: bool) -> bool:
    """Whether the gradient at this position is what the layer computes."""
    if backward.layer == Layer.IDENTITY:  # of either term
        return same_shape  # nothing was broadcast
    return position == 0


_Term = tuple[Node, Backward]  # the node that sends a gradient back, and how

_UNCHANGED = Backward(Layer.IDENTITY)

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


@dataclass
class _Writer:
    """A tape that is being written, values from the seeds on."""

    wanted: frozenset[Node]
    cuts: frozenset[Node]
    shapes: dict[Node, Shape]
    number: dict[Node, int] = field(default_factory=dict)
    behind: dict[Node, list[_Term]] = field(default_factory=dict)  # ReLUs without a value
    values: list[tuple[int, ...]] = field(default_factory=list)
    terms: list[tuple[int, ...]] = field(default_factory=list)
    constants: dict[str, dict[int, tuple[int, Tensor]]] = field(
        default_factory=lambda: defaultdict(dict)
    )  # weights and masks, by id: position and tensor
    made: dict[Callable[[], Tensor], Tensor] = field(default_factory=dict)
    norms: list[Norm] = field(default_factory=list)

    def add_value(self, node: Node) -> int:
        _, channels, height, width = self.shapes[node]
        self.number[node] = len(self.values)
        self.values.append((padded_channels(channels), height, width))
        return self.number[node]

    def add(self, node: Node, backward: Backward, terms: list[_Term]) -> None:
        """A node whose gradient is the sum of the gradients from its users."""
        terms = [term for user, sent in terms for term in self._through(user, sent)]
        if node not in self.wanted and _takes_mask(backward, terms):
            self.behind[node] = terms
            return
        if len(terms) == 1 and terms[0][1] == _UNCHANGED and node not in self.cuts:
            self.number[node] = self.number[terms[0][0]]  # one gradient for both
            return
        destination = self.add_value(node)
        # By layer and mask. Convolutions hide the cost of a first write to memory; copies do not.
        rows = [
            (
                int(sent.layer),
                self.number[user],
                destination,
                self._position("weights", sent.weights),
                self._position("masks", sent.mask),
                sent.stride,
                sent.padding,
                self._norm(sent.norm),
            )
            for user, sent in terms
        ]
        self.terms += sorted(rows, key=lambda row: (row[0] == Layer.IDENTITY, row[0], row[4]))

    def _through(self, user: Node, sent: Backward) -> list[_Term]:
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
        return Tape(
            entries,
            self.number,
            torch.tensor(self.values, dtype=torch.int64, device="cpu").view(-1, 3),
            torch.tensor(self.terms, dtype=torch.int64, device="cpu").view(-1, 8),
            tuple(tensor for _, tensor in self.constants["weights"].values()),
            tuple(tensor for _, tensor in self.constants["masks"].values()),
            tuple(self.norms),
        )


def _takes_mask(backward: Backward, terms: list[_Term]) -> bool:
    """Whether all terms of a ReLU's gradient can apply its mask; the ReLU then needs no value."""
    is_relu = backward.layer == Layer.IDENTITY and backward.mask is not None
    return is_relu and all(sent.layer in _MASKED_LAYERS and sent.mask is None for _, sent in terms)
