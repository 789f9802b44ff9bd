"""Loads the compiled library together with the fake kernels of some of its ops.

A fake kernel tells the size and layout of a result without computing it; `torch.compile` and
`torch.export` trace with it. It can be registered only once the library has defined the op.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vkdnw.ops import native


def channels_last(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """A result [B, channels, height, width] of the B samples, dtype and device of ``like``."""
    return torch.empty(
        (like.shape[0], channels, height, width),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )


def loader(fakes: Mapping[str, Callable[..., object]]) -> Callable[[], None]:
    """A function that loads the library and registers `fakes`, by op name, on its first call.

    It is idempotent and thread-safe, and raises :class:`vkdnw.ops.native.NativeLibraryError` where
    the library is missing or does not fit this machine.
    """
    registration = threading.Lock()
    registered = False

    def load() -> None:
        nonlocal registered
        if registered:
            return
        with registration:
            if not registered:
                native.load()
                for name, fake in fakes.items():
                    torch.library.register_fake(name, fake)
                registered = True

    return load
