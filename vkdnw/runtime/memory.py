"""How much memory a call may use: the caller's number, or the free memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MARGIN = 0.8  # of the free memory: the rest is left to the allocator and to other processes

_CGROUP = Path("/sys/fs/cgroup")


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Reads a size such as ``512M`` or ``2GiB``, in bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"a size is a number and K, M, G or T (powers of 1024), got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def in_bytes(max_memory: int | str | None) -> int | None:
    """The caller's ``max_memory``, in bytes; None where none was given.

    Raises:
        ValueError, TypeError: it is no size, or not a positive one.
    """
    if max_memory is None:
        return None
    if isinstance(max_memory, bool) or not isinstance(max_memory, int | float | str):
        raise TypeError(
            f"max_memory={max_memory!r}: expected a number of bytes, or text such as '1GiB'"
        )
    try:
        size = parse_size(max_memory) if isinstance(max_memory, str) else int(max_memory)
    except (ValueError, OverflowError):
        raise ValueError(
            f"max_memory={max_memory!r}: expected a number of bytes, or text such as '1GiB'"
        ) from None
    if size <= 0:
        raise ValueError(f"max_memory={max_memory!r}: expected a positive number of bytes")
    return size


def available(device: torch.device) -> int:
    """Free bytes on ``device`` less a margin; a container's limit counts like the machine's."""
    if device.type == "cuda":
        import torch  # here: the command line reads sizes without it

        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(MARGIN * (free + held))  # the reserve of torch's allocator is free to us
    import psutil  # imported here: scoring on a GPU does not need it

    return int(MARGIN * min(psutil.virtual_memory().available, _container()))


def _container() -> float:
    """Bytes that the process's control group (version 2) still allows; infinite without a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (_CGROUP / "memory.current").read_text(encoding="ascii").strip()
        return float("inf") if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return float("inf")
