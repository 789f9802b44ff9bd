"""Models that nobody wrote are right, or refused; plain ones are never refused."""

from __future__ import annotations

import pytest
import torch

from tests.library.fuzz.check import checked

BLOCK = 20


def failures(seeds: range, dtype: torch.dtype) -> str:
    outcomes = [checked(seed, dtype) for seed in seeds]
    return "\n".join(str(outcome) for outcome in outcomes if outcome.verdict == "failure")


@pytest.mark.parametrize("block", range(10))
def test_is_right_or_refused(block: int) -> None:
    assert failures(range(block * BLOCK, (block + 1) * BLOCK), torch.float64) == ""


@pytest.mark.parametrize("block", range(2))
def test_is_right_or_refused_in_float32(block: int) -> None:
    assert failures(range(block * BLOCK, (block + 1) * BLOCK), torch.float32) == ""
