"""Goes on with smaller chunks where a device runs out of memory.

What is free on a GPU is known before a call and not during it: other processes take their share,
and libraries take workspace that nobody announced.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


class SmallerChunksWarning(UserWarning):
    """A device ran out of memory, and the call went on with fewer samples at a time."""


def retry_on_oom(
    ranges: Iterable[range], compute: Callable[[range], T], fewest: int, device: torch.device
) -> Iterator[T]:
    """``compute`` of every range in order, cut in halves from where memory ran out.

    Args:
        fewest: samples that a piece must have.

    Raises:
        MemoryError: ``fewest`` samples do not fit.
    """
    waiting = list(ranges)[::-1]
    limit = max((len(samples) for samples in waiting), default=0)
    while waiting:
        samples = waiting.pop()
        if len(samples) > limit:
            waiting += [part for part in _halves(samples)[::-1] if part]
            continue
        computed = _attempt(compute, samples)
        if computed is not None:
            yield computed[0]
            continue
        limit = len(samples) // 2  # the failed attempt's tensors are gone: here they can be freed
        if limit < fewest:
            raise MemoryError(
                f"{device} ran out of memory with {len(samples)} samples at a time, and the model "
                f"takes no fewer than {fewest}; use smaller inputs or fewer scalars, or free "
                "memory on the device"
            )
        warnings.warn(
            f"{device} ran out of memory with {len(samples)} samples at a time: going on with "
            f"{limit}; max_memory= asks for smaller chunks from the start",
            SmallerChunksWarning,
            stacklevel=2,
        )
        if device.type == "cuda":
            torch.cuda.empty_cache()
        waiting.append(samples)


def _attempt(compute: Callable[[range], T], samples: range) -> tuple[T] | None:
    """None where memory ran out. The exception holds the frames and with them their tensors, so it
    must not outlive this function."""
    try:
        return (compute(samples),)
    except torch.OutOfMemoryError:
        return None


def _halves(samples: range) -> tuple[range, range]:
    middle = samples.start + len(samples) // 2
    return range(samples.start, middle), range(middle, samples.stop)
