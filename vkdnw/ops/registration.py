"""Loads the compiled library and registers the fake kernels of its ops.

A fake kernel returns a tensor of the right size and layout without computing it; `torch.compile`
and `torch.export` trace with it. It can be registered only once the library has defined the op.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vkdnw.ops import library


def native() -> bool:
    """:func:`vkdnw.ops.library.native`, as code that is being compiled may call it."""
    return library.native()


# All that `torch.compiler.assume_constant_result` does, without the second that it takes to import
# torch's compiler, in every process.
native._dynamo_marked_constant = True  # type: ignore[attr-defined]


def loader(fakes: Mapping[str, Callable[..., object]]) -> Callable[[], None]:
    """A function that loads the library and registers `fakes`, by op name, on its first call.

    The typed functions of this package call it. Code that is compiled with `fullgraph=True`, or
    that calls `torch.ops.vkdnw` directly, calls it once before. It is idempotent and thread-safe.

    Raises:
        NativeLibraryError: on a call, the library is missing or does not fit this machine.
    """
    registration = threading.Lock()
    registered = False

    def load() -> None:
        nonlocal registered
        if registered:
            return
        with registration:
            if not registered:
                library.load()
                for name, fake in fakes.items():
                    torch.library.register_fake(name, fake)
                registered = True

    return load


def channels_last(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """A result [B, channels, height, width] with the samples, dtype and device of ``like``."""
    return torch.empty(
        (like.shape[0], channels, height, width),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )


def changes_arguments(*args: object) -> None:
    """The fake kernel of an op that changes arguments and returns nothing."""
