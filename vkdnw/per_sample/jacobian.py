"""The per-sample Jacobian of a batch, chunk by chunk, in the mode decided on, and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from vkdnw.per_sample.capture import PathChanged
from vkdnw.per_sample.choose_mode import Decision, ForwardRefused, decide, in_reverse
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.forward_mode.chunking import forward_chunks
from vkdnw.per_sample.probing.trace import Trace, plainly, trace_model, without_rules
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunking import Chunk, reverse_chunks
from vkdnw.per_sample.verification import NotAsAutograd, Verification
from vkdnw.weights import Selection

T = TypeVar("T")


@dataclass(frozen=True)
class Differentiation:
    """How a problem is differentiated: the trace of the model, the mode, and the check."""

    trace: Trace
    decision: Decision
    verification: Verification
    fallback_reason: str = ""  # why a faster method was not used; empty if it was


def jacobian_chunks(
    problem: Problem, differentiation: Differentiation, selection: Selection, cotangents: Cotangents
) -> Iterator[Chunk]:
    """Derivatives of ``cotangents [K, C] @ logits`` for every sample, chunk by chunk, in order.

    They are verified when all have been read, and must not be used before.

    Raises:
        PathChanged, ForwardRefused, NotAsAutograd: :func:`differentiated` uses another method.
        MemoryError: not even one sample fits the budget.
        ValueError: samples mix, or the model changes from call to call.
    """
    in_mode = forward_chunks if differentiation.decision.mode == "forward" else reverse_chunks
    expected = differentiation.verification.expected(cotangents)  # before any hook is placed
    chunks = in_mode(problem, differentiation.trace, selection, cotangents)
    return differentiation.verification.verified(chunks, selection, expected)


def differentiated(
    problem: Problem, run: Callable[[Differentiation], T]
) -> tuple[T, Differentiation]:
    """Computes by the fastest method that agrees with autograd.

    Forward mode comes first if it is cheaper, then reverse mode with the rules. Where that differs
    from autograd, torch computes the layers one by one. Where that differs too, or where the
    model's path depends on the samples, every parameter goes through the fallback.

    Raises:
        ValueError: the model is refused, or forward mode is asked for and refused; says why.
    """
    trace = trace_model(problem)
    decision = decide(problem, trace)
    way = Differentiation(trace, decision, Verification(problem, trace))
    if decision.mode == "forward":
        try:
            return run(way), way
        except (ForwardRefused, PathChanged, NotAsAutograd, *_FAULTS) as refusal:
            if problem.options.mode == "forward":
                raise ValueError(
                    f"mode='forward': {_said(refusal)}; mode='reverse' differentiates this model, "
                    "and mode='auto' chooses it where it has to"
                ) from refusal
            way = replace(way, decision=in_reverse(decision, _said(refusal)))
    for slower in (plainly, without_rules):
        try:
            return run(way), way
        except PathChanged as change:
            way = replace(way, trace=without_rules(trace), fallback_reason=str(change))
            break
        except NotAsAutograd as difference:
            reason = str(difference)
        except _FAULTS as fault:
            reason = _fault(fault)
        way = replace(way, trace=slower(trace), fallback_reason=way.fallback_reason or reason)
    way = replace(way, verification=way.verification.alone())
    try:
        return run(way), way
    except NotAsAutograd as difference:
        raise ValueError(
            f"the model cannot be verified: {difference}, also where each sample is differentiated "
            "alone by autograd itself: the model is not the same from call to call, its backward "
            "pass is no linear function of its cotangents, or rounding hides its derivatives; "
            "replace its random draws or its memory, or pass dtype=torch.float64"
        ) from difference


def _said(refusal: Exception) -> str:
    if isinstance(refusal, NotAsAutograd):
        return f"forward and reverse mode disagree: {refusal}"
    if isinstance(refusal, _FAULTS):
        return _fault(refusal)
    return str(refusal)


def _fault(fault: Exception) -> str:
    return f"{type(fault).__name__}: {(str(fault).splitlines() or ['(no message)'])[0]}"


_FAULTS = (RuntimeError, IndexError, KeyError, TypeError, AttributeError, AssertionError)
"""Errors that a rule may raise on a layer it does not fit; the model's own occur again."""
