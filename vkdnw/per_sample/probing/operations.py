"""Layers that are read off the autograd graph: operations that take a parameter as it is.

A module may call a layer's operation in a ``forward`` of its own: a BatchNorm that applies an
activation too, a convolution that pads first, a LayerNorm over channels. Where every use of a
parameter in the graph is as the weight or bias of an operation that a rule covers, that rule
holds, whatever module it was: the node has what the operation read, its constants, and the edge
where its output enters the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.per_sample.capture import CallSite, Record, Records
from vkdnw.rules import RULES, Rule, layer_norm


@dataclass(frozen=True)
class _Kind:
    """How nodes of one name are read."""

    rule: Callable[[Node], Rule]
    fits: Callable[[Node], bool]
    constants: Callable[[Node], tuple[Any, ...]]  # equal for operations that compute alike
    module: Callable[[Node], nn.Module]  # a layer with these constants, which is never called
    input: Callable[[Node], Tensor]


@dataclass(frozen=True)
class Operation:
    """A node of the graph that uses chosen parameters as a layer would."""

    node: Node
    leaves: dict[str, str]  # weight and bias to parameter names

    @property
    def name(self) -> str:
        """Stands where a module's name would; it contains spaces, as none of those does."""
        return f"operation on {', '.join(self.leaves.values())}"

    @property
    def constants(self) -> tuple[Any, ...]:
        """What a rule needs besides input and gradient."""
        return self.node.name(), *_KINDS[self.node.name()].constants(self.node)

    @property
    def rule(self) -> Rule:
        """The rule that covers the operation."""
        return _KINDS[self.node.name()].rule(self.node)

    def module(self, parameters: dict[str, nn.Parameter]) -> nn.Module:
        """A layer that computes the same, holding the parameters."""
        module = _KINDS[self.node.name()].module(self.node)
        for leaf, name in self.leaves.items():
            module._parameters[leaf] = parameters[name]
        return module

    def record(self) -> Record:
        """What the operation left behind; of its output only the size and the edge are known."""
        x = _KINDS[self.node.name()].input(self.node).detach()
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


def _leaf(node: Node, name: str, names: dict[int, str]) -> str | None:
    """What a parameter is to a node, if a rule covers that, and it is nothing else to it."""
    kind = _KINDS.get(node.name())
    if kind is None or not kind.fits(node):
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
    """Parameters of operations that go by one name and compute differently."""
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


# ---- kinds ---------------------------------------------------------------------------------------


def _statistics(node: Node) -> tuple[Any, ...]:
    mean, variance = node._saved_running_mean, node._saved_running_var
    return node._saved_eps, tuple(mean.tolist()), tuple(variance.tolist())


def _batch_norm(node: Node) -> nn.Module:
    mean, variance = node._saved_running_mean.detach(), node._saved_running_var.detach()
    layer = nn.BatchNorm2d(len(mean), node._saved_eps, device="meta")
    layer._buffers.update(running_mean=mean.clone(), running_var=variance.clone())
    return layer.eval()


_CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}

_CONVOLUTION_RULES = {1: RULES[nn.Conv1d], 2: RULES[nn.Conv2d], 3: RULES[nn.Conv3d]}


def _convolution_constants(node: Node) -> tuple[Any, ...]:
    sizes = (node._saved_stride, node._saved_padding, node._saved_dilation)
    return *map(tuple, sizes), node._saved_groups


def _convolution(node: Node) -> nn.Module:
    outputs, inputs, *kernel = node._saved_weight.shape
    stride, padding, dilation, groups = _convolution_constants(node)
    return _CONVOLUTIONS[len(kernel)](
        inputs * groups, outputs, tuple(kernel), stride, padding, dilation, groups, device="meta"
    )


def _normalised(node: Node) -> Tensor:
    """What LayerNorm scales and shifts; its eps is not on record, mean and deviation are."""
    x: Tensor = node._saved_input.detach()
    mean, inverse_std = node._saved_result1, node._saved_result2
    return x.sub(mean).mul_(inverse_std)


def _layer_norm(node: Node) -> nn.Module:
    return nn.LayerNorm(tuple(node._saved_normalized_shape), device="meta")


_KINDS = {
    "NativeBatchNormBackward0": _Kind(
        rule=lambda node: RULES[nn.BatchNorm2d],
        fits=lambda node: not node._saved_training and node._saved_running_mean is not None,
        constants=_statistics,
        module=_batch_norm,
        input=lambda node: node._saved_input,
    ),
    "ConvolutionBackward0": _Kind(
        rule=lambda node: _CONVOLUTION_RULES[len(node._saved_stride)],
        fits=lambda node: not node._saved_transposed and len(node._saved_stride) in _CONVOLUTIONS,
        constants=_convolution_constants,
        module=_convolution,
        input=lambda node: node._saved_input,
    ),
    "NativeLayerNormBackward0": _Kind(
        rule=lambda node: replace(
            layer_norm.RULE, channels=lambda layer, leaf, x, indices: layer_norm.flattened(layer, x)
        ),
        fits=lambda node: True,
        constants=lambda node: (tuple(node._saved_normalized_shape),),
        module=_layer_norm,
        input=_normalised,
    ),
}
