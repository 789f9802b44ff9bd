"""Notes on values between native layers, kept as attributes of the tensors themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

CHANNELS_LAST = torch.channels_last

Origin = TypeVar("Origin")


class OverwrittenError(RuntimeError):
    """A feature map was changed in place while a layer that read it still needed it.

    In a forward pass: run it again without lazy tensors. In a backward pass the gradient cannot be
    computed, as with torch's own layers.
    """


@dataclass(frozen=True)
class _Note:
    """How a native layer made a tensor."""

    origin: object
    versions: tuple[int, int]  # of its input and output; others mean that one was overwritten
    read: Tensor


def note(output: Tensor, read: Tensor, origin: object) -> None:
    """Records how an output was made of a tensor, for the layer that reads it next.

    There is no note on a value outside the graph: gradients of its readers end there.
    """
    if output.requires_grad:
        output._vkdnw_note = _Note(  # type: ignore[attr-defined]
            origin, (read._version, output._version), read
        )


def made_by(output: Tensor, kind: type[Origin]) -> Origin | None:
    """How a native layer of this kind made a tensor, if neither side was written to since."""
    known: _Note | None = getattr(output, "_vkdnw_note", None)
    if known is None or known.versions != (known.read._version, output._version):
        return None
    return known.origin if isinstance(known.origin, kind) else None


def cut(value: Tensor) -> None:
    """Makes later readers of a value differentiate the value itself, not its inputs."""
    value.__dict__.pop("_vkdnw_note", None)
