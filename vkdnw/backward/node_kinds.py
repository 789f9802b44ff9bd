"""The registry of autograd nodes, by kind.

A node is recognised by the name that torch gives it and by the values it has saved. Nothing is
recognised by a module's name or class, so that models may be written in any way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vkdnw.backward import rule_nodes, tape_nodes
from vkdnw.backward.graph import Node
from vkdnw.backward.rule_nodes import RuleLayer
from vkdnw.backward.tape_nodes import TapeLayer

TapeReader = Callable[[Node], TapeLayer | None]


@dataclass(frozen=True)
class NodeKind:
    """The entry for nodes of one name. Each field is optional."""

    tape_layer: TapeReader | None = None
    """The layer of a native tape that computes a node's backward; None for a node without one."""
    rule_layer: RuleLayer | None = None
    """How a node is read as a layer whose parameters have a rule."""
    passes_on: bool = False
    """Whether the node's output is the parameter itself, transposed or cast, for other nodes."""


_BATCH_NORM = NodeKind(tape_nodes.batch_norm, rule_nodes.BATCH_NORM)

KINDS = {
    "AddBackward0": NodeKind(tape_nodes.add),
    "AvgPool2DBackward0": NodeKind(tape_nodes.mean_pool),
    "CudnnBatchNormBackward0": _BATCH_NORM,  # with CUDA, in eval mode too
    "ConvolutionBackward0": NodeKind(tape_nodes.convolution, rule_nodes.CONVOLUTION),
    "MeanBackward1": NodeKind(tape_nodes.mean),
    "MulBackward0": NodeKind(tape_nodes.product),
    "NativeBatchNormBackward0": _BATCH_NORM,
    "NativeLayerNormBackward0": NodeKind(rule_layer=rule_nodes.LAYER_NORM),
    "ReluBackward0": NodeKind(tape_nodes.relu),
    "TBackward0": NodeKind(passes_on=True),
    "ToCopyBackward0": NodeKind(passes_on=True),
}
"""By the names that torch gives nodes."""

_UNKNOWN = NodeKind()


def kind_of(node: Node) -> NodeKind:
    """The entry for a node.

    The package's own functions (:mod:`vkdnw.backward.layers`) have a ``tape_layer`` themselves;
    other functions written in Python have an empty entry.
    """
    function = getattr(node, "_forward_cls", None)
    if function is not None:
        return NodeKind(getattr(function, "tape_layer", None))
    return KINDS.get(node.name(), _UNKNOWN)
