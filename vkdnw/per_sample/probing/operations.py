"""Layers found in the autograd graph: operations that use a parameter directly.

A module may call a layer's operation in a ``forward`` of its own: a BatchNorm that applies an
activation too, a convolution that pads first, a LayerNorm over channels. Where every use of a
parameter in the graph is as the weight or bias of an operation that a rule covers, that rule
holds, whatever module it was: the node has the input of the operation, its constants, and the edge
where its output enters the graph.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.backward.node_kinds import kind_of
from vkdnw.backward.rule_nodes import RuleLayer
from vkdnw.per_sample.capture import CallSite, Record, Records
from vkdnw.rules import Rule


@dataclass(frozen=True)
class Operation:
    """A node of the graph that uses chosen parameters as a layer would."""

    node: Node
    leaves: dict[str, str]  # weight and bias to parameter names

    @property
    def name(self) -> str:
        """Takes the place of a module's name; it contains spaces, which module names do not."""
        return f"operation on {', '.join(self.leaves.values())}"

    @property
    def constants(self) -> tuple[Any, ...]:
        """The constants that a rule needs besides input and gradient."""
        return self.node.name(), *_rule_layer(self.node).constants(self.node)

    @property
    def rule(self) -> Rule:
        """The rule that covers the operation."""
        return _rule_layer(self.node).rule(self.node)

    def module(self, parameters: dict[str, nn.Parameter]) -> nn.Module:
        """A layer that computes the same, holding the parameters."""
        module = _rule_layer(self.node).module(self.node)
        for leaf, name in self.leaves.items():
            module._parameters[leaf] = parameters[name]
        return module

    def record(self) -> Record:
        """The record of the operation; of its output only the size and the edge are known."""
        x = _rule_layer(self.node).input(self.node).detach()
        output = x.new_empty(()).expand(self.node._input_metadata[0].shape)
        edge = GradientEdge(self.node, 0)
        return Record(x, x._version, output, output._version, edge)


def operations(
    users: dict[Node, list[Node]], names: dict[int, str], wanted: Collection[str]
) -> list[Operation]:
    """Operations that cover parameters entirely, in the order in which they ran.

    Args:
        users: the graph, see :func:`vkdnw.backward.graph.consumers`.
        names: of all parameters, by id.
        wanted: the parameters in question; those used in any other way are left out.
    """
    if not wanted:
        return []
    by_leaf = {names.get(id(getattr(node, "variable", None))): node for node in users}
    using = {name: users[by_leaf[name]] for name in wanted if name in by_leaf}
    covered = {
        name for name, nodes in using.items() if all(_leaf(node, name, names) for node in nodes)
    }
    nodes = {id(node): node for name in covered for node in using[name]}
    ordered = sorted(nodes.values(), key=lambda node: int(node._sequence_nr()))
    found = [Operation(node, _leaves(node, covered, names)) for node in ordered]
    unlike = _unlike(found)
    return [operation for operation in found if not unlike & {*operation.leaves.values()}]


def _rule_layer(node: Node) -> RuleLayer:
    """How a node that :func:`operations` found is read."""
    layer = kind_of(node).rule_layer
    assert layer is not None
    return layer


def _leaf(node: Node, name: str, names: dict[int, str]) -> str | None:
    """The role of a parameter in a node, where a rule covers it and it is the only role."""
    layer = kind_of(node).rule_layer
    if layer is None or not layer.fits(node):
        return None
    places = [place for place, read in enumerate(_read(node, names)) if read == name]
    return {1: "weight", 2: "bias"}.get(places[0]) if len(places) == 1 else None


def _leaves(node: Node, covered: set[str], names: dict[int, str]) -> dict[str, str]:
    read = [name for name in _read(node, names) if name in covered]
    return {leaf: name for name in read if name and (leaf := _leaf(node, name, names))}


def _read(node: Node, names: dict[int, str]) -> list[str | None]:
    """The parameters that a node takes as they are, by the place of the argument."""
    sources = [source for source, _ in node.next_functions]
    return [names.get(id(getattr(source, "variable", None))) for source in sources]


def _unlike(found: list[Operation]) -> set[str]:
    """Parameters of operations with one name that compute differently."""
    constants: dict[str, tuple[Any, ...]] = {}
    return {
        name
        for operation in found
        if constants.setdefault(operation.name, operation.constants) != operation.constants
        for name in operation.leaves.values()
    }


def records_of(found: list[Operation]) -> Records:
    """The records of operations, with the calls of each numbered."""
    records: Records = {}
    calls: dict[str, int] = {}
    for operation in found:
        ordinal = calls.get(operation.name, 0)
        calls[operation.name] = ordinal + 1
        records[CallSite(operation.name, ordinal)] = operation.record()
    return records
