"""Restores the random state of torch, numpy and Python after a block."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_kept(devices: Iterable[torch.device]) -> Iterator[None]:
    """Restores the state of the global generators of the CPU, of some GPUs, of Python and of
    numpy."""
    of_python = random.getstate()
    numpy = sys.modules.get("numpy.random")  # a module that is not imported has no state
    of_numpy = None if numpy is None else numpy.get_state()
    indices = [device.index for device in devices if device.type == "cuda"]
    try:
        with torch.random.fork_rng(indices, device_type="cuda"):
            yield
    finally:
        random.setstate(of_python)
        if numpy is not None:
            numpy.set_state(of_numpy)
