"""Leaves a model as it was found, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Restores buffers, ``requires_grad`` flags and the random state on the way out.

    Modes, gradients and hooks are never changed by this package, or undone where they are set.
    Weights are not copied, since nothing writes to them, except those of embeddings with
    ``max_norm``, whose forward rescales rows in place.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    rescaled = [
        (module.weight, module.weight.detach().clone())
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng([device.index for device in devices], device_type="cuda"):
        try:
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            for module, name, buffer, value in buffers:
                _restore(module, name, buffer, value)
            with torch.no_grad():
                for weight, value in rescaled:
                    weight.copy_(value)


def _restore(module: nn.Module, name: str, buffer: Tensor | None, value: Tensor | None) -> None:
    module._buffers[name] = buffer
    if buffer is not None and value is not None and not _same(buffer, value):
        with torch.no_grad():
            buffer.copy_(value)


def _same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and bool(torch.equal(left.detach(), right))
