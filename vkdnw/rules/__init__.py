"""Layer rules: closed-form derivatives of a layer's parameters, one layer type a file.

``rule_for(layer)`` finds the rule of a layer. A layer type that is not listed, a subclass with a
``forward`` of its own, or a layer whose options a rule does not cover has none, and its parameters
go through the exact automatic fallback. To add a layer type, write one file and one line here.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn
from torch.nn.modules.conv import _ConvNd

from vkdnw.rules import batch_norm, conv, embedding, group_norm, layer_norm, linear
from vkdnw.rules.rule import Picks, Rule

__all__ = ["RULES", "Picks", "Rule", "rule_for"]

RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear.RULE,
    nn.Conv1d: conv.RULE,
    nn.Conv2d: conv.RULE,
    nn.Conv3d: replace(conv.RULE, single_row=True),
    nn.BatchNorm1d: batch_norm.RULE,
    nn.BatchNorm2d: batch_norm.RULE,
    nn.BatchNorm3d: batch_norm.RULE,
    nn.LayerNorm: layer_norm.RULE,
    nn.GroupNorm: group_norm.RULE,
    nn.Embedding: embedding.RULE,
}


def rule_for(layer: nn.Module) -> Rule | None:
    """The rule that covers ``layer``, or None. Subclasses count only while they change nothing."""
    for base in type(layer).__mro__:
        if base in RULES:
            rule = RULES[base]
            return rule if _computes_like(layer, base) and rule.supports(layer) else None
    return None


def _computes_like(layer: nn.Module, base: type[nn.Module]) -> bool:
    overridden = [type(layer).forward is not base.forward, "forward" in vars(layer)]
    if isinstance(layer, _ConvNd):
        overridden.append(type(layer)._conv_forward is not base._conv_forward)  # type: ignore[attr-defined]
    return not any(overridden)
