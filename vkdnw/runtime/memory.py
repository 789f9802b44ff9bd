"""How much memory a call may use when the caller does not say."""

from __future__ import annotations

from pathlib import Path

import torch

MARGIN = 0.8  # of what is free: the rest is left to the allocator and to other processes

_CGROUP = Path("/sys/fs/cgroup")


def available(device: torch.device) -> int:
    """Free bytes on ``device`` less a margin; a container's limit counts like the machine's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(MARGIN * (free + held))  # what torch's allocator keeps for later is free to us
    import psutil  # here: what scores on a GPU need not have it

    return int(MARGIN * min(psutil.virtual_memory().available, _container()))


def _container() -> float:
    """What the process's control group (version 2) still allows; infinite without a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (_CGROUP / "memory.current").read_text(encoding="ascii").strip()
        return float("inf") if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return float("inf")
