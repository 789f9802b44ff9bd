"""Process CPU time of short native ops, which other programs on the machine hardly change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CALLS = 4
"""Calls that one reading covers."""


def best_times(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least CPU seconds of each call in `repeats` readings, which they take in turn."""
    for call in calls:
        call()
    rounds = [[_cpu_seconds(call) for call in calls] for _ in range(repeats)]
    return [min(times) for times in zip(*rounds, strict=True)]


def normal_images(*shape: int) -> Tensor:
    """Standard normal ``[B, C, H, W]``, channels last in memory."""
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS
