"""Reverse or forward mode: chosen by counting passes, never by a clock.

Reverse mode takes one backward pass for each of C - 1 cotangents and gives the derivatives with
respect to all scalars. Forward mode takes one tangent for each of P scalars through the layers
behind it and gives the derivatives of all classes. Both cross the same layers, so the number of
passes decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.weights import Selection

NATIVE_TANGENT_COST = 4.0
"""Of a tangent through a whole convolutional network in float32 on a CPU, in backward passes: torch
carries tangents, and native kernels gradients (docs/mobilenetv2.md has the times)."""

TANGENT_COST = 1.5
"""The same where torch carries both: a tangent passes every layer twice, with its value."""

START_COST = 4.0
"""Of the work before the tangents (a pass that records the inputs of layers, and where tangents
begin), in backward passes."""


@dataclass(frozen=True)
class Decision:
    """The mode of a call and, in a few words, why."""

    mode: Literal["reverse", "forward"]
    reason: str


class ForwardRefused(Exception):
    """Forward mode cannot differentiate this model, or its result differs from reverse mode's."""


def decide(problem: Problem, trace: Trace) -> Decision:
    """Forward mode where it is requested, or where it passes fewer layers.

    Both numbers are in units of a backward pass of the batch. A parameter without a rule costs
    reverse mode as many passes again, sample by sample; it costs forward mode nothing more.
    """
    if problem.options.mode != "auto":
        return Decision(problem.options.mode, "asked for")
    passes = (trace.classes - 1) * (1 + bool(trace.fallback))
    cost = NATIVE_TANGENT_COST if _carries_natively(trace) else TANGENT_COST
    tangents = cost * tangent_passes(problem.selection, trace) + START_COST
    forward = tangents < passes
    counts = f"tangents cost {tangents:.0f} backward passes, and reverse mode takes {passes}"
    return Decision("forward" if forward else "reverse", counts)


def _carries_natively(trace: Trace) -> bool:
    single = trace.logits.device.type == "cpu" and trace.logits.dtype == torch.float32
    convolutional = any(isinstance(layer.module, nn.Conv2d) for layer in trace.layers.values())
    return single and convolutional and not trace.by_sample and not trace.plain


def tangent_passes(selection: Selection, trace: Trace) -> float:
    """Passes through the whole network that the tangents of all scalars add up to."""
    calls = max(1, len(trace.records))
    return sum(
        count * (calls - place) / calls
        for name, count, place in zip(
            selection.names, selection.counts, places(selection, trace), strict=True
        )
        if name not in trace.unreached
    )


def places(selection: Selection, trace: Trace) -> list[int]:
    """For each parameter: how many layer calls of a forward pass come before its first use.

    A parameter without a rule counts as used where the one before it is.
    """
    order = {site: place for place, site in enumerate(trace.records)}
    last, found_places = 0, []
    for name in selection.names:
        terms = trace.terms.get(name, ())
        last = min((order[site] for site, _ in terms), default=last)
        found_places.append(last)
    return found_places


def in_reverse(decision: Decision, refusal: str) -> Decision:
    """Reverse mode, where forward mode is not available."""
    return replace(decision, mode="reverse", reason=f"forward mode is not available: {refusal}")
