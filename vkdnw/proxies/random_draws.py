"""Random draws, each from a generator of its own.

The seed of a generator is hashed from the caller's seed and the proxy's name, so that a value does
not depend on which other proxies are computed. Draws are made on the CPU, whatever the device.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derived_seed(seed: int, name: str) -> int:
    """A seed in [0, 2^63) for the draws of a name."""
    digest = hashlib.sha256(f"{name}\n{seed}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def generator(seed: int, name: str) -> torch.Generator:
    """The generator of a name's draws, on the CPU."""
    return torch.Generator(device="cpu").manual_seed(derived_seed(seed, name))


def random_labels(count: int, classes: int, source: torch.Generator) -> Tensor:
    """``[count]`` int64, uniform on the classes."""
    return torch.randint(classes, (count,), generator=source, device="cpu")
