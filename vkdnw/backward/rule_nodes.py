"""Autograd nodes as layers that a rule covers.

A module may call a layer's operation in a ``forward`` of its own. Its node has saved everything
that the rule of that layer needs: the constants, the input, and the place of its output in the
graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from vkdnw.backward.graph import Node
from vkdnw.backward.tape_nodes import epsilon
from vkdnw.rules import RULES, Rule, layer_norm


@dataclass(frozen=True)
class RuleLayer:
    """How nodes of one kind are read as a layer."""

    rule: Callable[[Node], Rule]
    fits: Callable[[Node], bool]  # whether the rule covers this node
    constants: Callable[[Node], tuple[Any, ...]]  # equal for nodes that compute the same
    module: Callable[[Node], nn.Module]  # a layer with these constants, which is never called
    input: Callable[[Node], Tensor]


def _statistics(node: Node) -> tuple[Any, ...]:
    mean, variance = node._saved_running_mean, node._saved_running_var
    return epsilon(node), tuple(mean.tolist()), tuple(variance.tolist())


def _batch_norm(node: Node) -> nn.Module:
    mean, variance = node._saved_running_mean.detach(), node._saved_running_var.detach()
    layer = nn.BatchNorm2d(len(mean), epsilon(node), device="meta")
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
    """The normalised input of a LayerNorm: its node saves mean and deviation, but not eps."""
    x: Tensor = node._saved_input.detach()
    mean, inverse_std = node._saved_result1, node._saved_result2
    return x.sub(mean).mul_(inverse_std)


def _layer_norm(node: Node) -> nn.Module:
    return nn.LayerNorm(tuple(node._saved_normalized_shape), device="meta")


BATCH_NORM = RuleLayer(
    rule=lambda node: RULES[nn.BatchNorm2d],
    fits=lambda node: not node._saved_training and node._saved_running_mean is not None,
    constants=_statistics,
    module=_batch_norm,
    input=lambda node: node._saved_input,
)

CONVOLUTION = RuleLayer(
    rule=lambda node: _CONVOLUTION_RULES[len(node._saved_stride)],
    fits=lambda node: not node._saved_transposed and len(node._saved_stride) in _CONVOLUTIONS,
    constants=_convolution_constants,
    module=_convolution,
    input=lambda node: node._saved_input,
)

LAYER_NORM = RuleLayer(
    rule=lambda node: replace(
        layer_norm.RULE, channels=lambda layer, leaf, x, indices: layer_norm.flattened(layer, x)
    ),
    fits=lambda node: True,
    constants=lambda node: (tuple(node._saved_normalized_shape),),
    module=_layer_norm,
    input=_normalised,
)
