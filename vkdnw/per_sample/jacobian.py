"""The per-sample Jacobian of a batch, chunk by chunk, in the mode that was decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from vkdnw.per_sample.capture import PathChanged
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.forward_mode.chunks import forward_chunks
from vkdnw.per_sample.mode import Decision, ForwardRefused, Mode, check_mode, decide, in_reverse
from vkdnw.per_sample.probing.trace import Trace, trace_model, without_rules
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunks import Chunk, reverse_chunks
from vkdnw.weights import Selection

T = TypeVar("T")


@dataclass(frozen=True)
class Differentiation:
    """How a problem is differentiated: what is known of the model, and the mode."""

    trace: Trace
    decision: Decision


def jacobian_chunks(
    problem: Problem, differentiation: Differentiation, selection: Selection, cotangents: Cotangents
) -> Iterator[Chunk]:
    """Derivatives of ``cotangents [K, C] @ logits`` for every sample, chunk by chunk, in order.

    Raises:
        PathChanged, ForwardRefused: go on another way; :func:`differentiated` does.
        MemoryError: not even one sample fits the budget.
    """
    in_mode = forward_chunks if differentiation.decision.mode == "forward" else reverse_chunks
    return in_mode(problem, differentiation.trace, selection, cotangents)


def differentiated(
    problem: Problem, mode: Mode, run: Callable[[Differentiation], T]
) -> tuple[T, Differentiation]:
    """Runs with the rules, in forward mode if it is cheaper, and with what is left otherwise.

    Where forward mode is refused, reverse mode is taken; where the model's path depends on the
    samples, the fallback for every parameter.

    Raises:
        ValueError: ``mode`` is unknown, or ``"forward"`` and refused; says why.
    """
    check_mode(mode)
    trace = trace_model(problem)
    differentiation = Differentiation(trace, decide(mode, problem, trace))
    if differentiation.decision.mode == "forward":
        try:
            return run(differentiation), differentiation
        except (ForwardRefused, PathChanged) as refusal:
            if mode == "forward":
                raise ValueError(
                    f"mode='forward': {refusal}; mode='reverse' differentiates this model, and "
                    "mode='auto' chooses it where it has to"
                ) from refusal
            differentiation = replace(
                differentiation, decision=in_reverse(differentiation.decision, refusal)
            )
    try:
        return run(differentiation), differentiation
    except PathChanged:
        differentiation = replace(differentiation, trace=without_rules(trace))
        return run(differentiation), differentiation
