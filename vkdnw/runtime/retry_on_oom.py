"""Goes on with smaller chunks where a device runs out of memory.

The free memory of a GPU is known before a call, but it changes during it: other processes take
memory, and libraries take workspace.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")

OUT_OF_MEMORY = (
    "out of memory",
    "unable to find an engine to execute this computation",  # cuDNN without a workspace
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
)
"""Words of a plain RuntimeError by which libraries on a GPU report that memory ran out."""


class SmallerChunksWarning(UserWarning):
    """A device ran out of memory, and the call went on with fewer samples at a time."""


def retry_on_oom(
    ranges: Iterable[range],
    compute: Callable[[range], T],
    fewest: Callable[[], int],
    device: torch.device,
) -> Iterator[T]:
    """Computes every range in order; a range for which memory ran out, and later ones, are halved.

    Args:
        fewest: samples that a piece must have, 1 or 2; called only for such small pieces.

    Raises:
        MemoryError: this number of samples does not fit.
    """
    waiting = list(ranges)[::-1]
    warned = False
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
        if limit == 0 or (limit == 1 and fewest() > 1):
            raise MemoryError(
                f"{device} ran out of memory with {len(samples)} samples at a time, and the model "
                f"takes no fewer than {fewest()}; use smaller inputs or fewer scalars, or free "
                "memory on the device"
            )
        if not warned:
            warnings.warn(
                f"{device} ran out of memory with {len(samples)} samples at a time: going on with "
                f"{limit} or fewer; max_memory= asks for smaller chunks from the start",
                SmallerChunksWarning,
                stacklevel=2,
            )
            warned = True
        if device.type == "cuda":
            torch.cuda.empty_cache()
        waiting.append(samples)


def _attempt(compute: Callable[[range], T], samples: range) -> tuple[T] | None:
    """None where memory ran out. The exception holds the frames and with them their tensors, so it
    must not outlive this function."""
    try:
        return (compute(samples),)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device has no memory left, by its type or by its words."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        words.lower() in said for words in OUT_OF_MEMORY
    )


def _halves(samples: range) -> tuple[range, range]:
    middle = samples.start + len(samples) // 2
    return range(samples.start, middle), range(middle, samples.stop)
