"""Checks the model of one seed: right, refused with a reason, or a failure with the difference."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

import vkdnw
from tests.library.comparison import assert_close
from tests.library.fuzz.grammar import Composed, composed
from tests.reference import reference_jacobian_by_loop
from vkdnw.weights import select

# Relative to a parameter's largest derivative, by the coarsest dtype that the model computes in:
# for float32 and bfloat16 the widest that a call itself allows, see docs/correctness.md.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-2, torch.bfloat16: 1e-1}
FLOOR = 1e-3  # of the tolerance: for derivatives that are zero but for rounding

REASONS = {  # a part of the message, and the line of the summary that counts it
    "reentrant": "hidden from autograd.grad",
    "autograd.grad": "hidden from autograd.grad",
    "draws random numbers": "draws",
    "generator": "draws",
    "samples mix": "samples mix",
    "other samples": "samples mix",
    "from call to call": "call to call",
}


@dataclass(frozen=True)
class Outcome:
    seed: int
    words: str
    verdict: Literal["right", "refused", "failure"]
    reason: str = ""

    def __str__(self) -> str:
        return f"seed {self.seed} ({self.words}): {self.verdict} {self.reason}"


def checked(seed: int, dtype: torch.dtype = torch.float64) -> Outcome:
    """Differentiates the model of a seed, and compares it with samples alone under autograd."""
    case = composed(seed)

    def outcome(verdict: Literal["right", "refused", "failure"], reason: str = "") -> Outcome:
        return Outcome(seed, case.words, verdict, reason)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = case.model.to(dtype)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        weights = vkdnw.weights.every() if case.every_weight else vkdnw.weights.first()
        try:
            found = vkdnw.jacobian(model, case.inputs(dtype), weights=weights)
        except ValueError as refusal:
            if case.labels <= {"plain"}:
                return outcome("failure", f"a plain model is refused: {refusal}")
            return outcome("refused", _reason(str(refusal)))
        except Exception as error:
            return outcome("failure", f"{type(error).__name__}: {error}")
        if not _same(before, model):
            return outcome("failure", "the model's state is not as it was")
        return outcome(*_compared(seed, case, found, weights, dtype))


def _compared(
    seed: int, case: Composed, found: Tensor, weights: vkdnw.weights.Weights, dtype: torch.dtype
) -> tuple[Literal["right", "failure"], str]:
    """The reference is float64, unless the model itself rounds further than float32."""
    coarsest = max({dtype, *case.roundings}, key=lambda each: torch.finfo(each).eps)
    if torch.bfloat16 in case.roundings and dtype == torch.float64:
        # Autocast leaves float64 as it is.
        coarsest = torch.float32 if torch.float32 in case.roundings else dtype
    precise = dtype if coarsest == torch.bfloat16 else torch.float64
    fresh = composed(seed).model.to(precise)
    selection = select(fresh, weights)
    batch = case.inputs(precise)
    try:
        # One sample at a time, each with the model as it was made: nothing counts calls.
        rows = [reference_jacobian_by_loop(fresh, one, selection) for one in batch.split(1)]
    except RuntimeError as error:
        return "failure", f"numbers where plain autograd says {error}"
    tolerance = TOLERANCE[coarsest]
    try:
        assert_close(
            found.double(), torch.cat(rows).double(), selection, tolerance, floor=FLOOR * tolerance
        )
    except AssertionError as difference:
        return "failure", f"a wrong number in silence: {difference}"
    return "right", ""


def _same(before: dict[str, Tensor], model: nn.Module) -> bool:
    after = model.state_dict()
    return before.keys() == after.keys() and all(
        torch.equal(value, after[name]) for name, value in before.items()
    )


def _reason(message: str) -> str:
    for part, reason in REASONS.items():
        if part in message:
            return reason
    return re.sub(r"\d+", "#", message)[:100]
