"""Small tensors of a model on a GPU, brought to the CPU in one transfer.

Tables are laid out on the CPU from constants of the layers. Fetched layer by layer, each would wait
for everything the GPU has been given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_Copies = dict[int, tuple[Tensor, int, Tensor]]  # id -> the tensor itself, its version, its copy
_copies: ContextVar[_Copies | None] = ContextVar("copies", default=None)


@contextmanager
def constants_copied(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the block, ``on_host`` finds the constants of convolutions and normalisations."""
    wanted = [tensor for tensor in _constants(modules) if tensor.device.type != "cpu"]
    token = _copies.set({**(_copies.get() or {}), **_copied(wanted)})
    try:
        yield
    finally:
        _copies.reset(token)


def on_host(tensor: Tensor) -> Tensor:
    """The tensor's values on the CPU, detached."""
    copies = _copies.get()
    known = copies.get(id(tensor)) if copies else None
    if known is not None and known[0] is tensor and known[1] == tensor._version:
        return known[2]
    return tensor.detach() if tensor.is_cpu else tensor.detach().to("cpu")


def _constants(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    for module in modules:
        if isinstance(module, _BatchNorm):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                if tensor is not None:
                    yield tensor
        elif isinstance(module, _ConvNd) and module.bias is not None:
            yield module.bias


def _copied(tensors: Iterable[Tensor]) -> _Copies:
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    copies: _Copies = {}
    for group in alike.values():
        flat = torch.cat([tensor.detach().flatten() for tensor in group]).to("cpu")
        parts = flat.split([tensor.numel() for tensor in group])
        for tensor, part in zip(group, parts, strict=True):
            copies[id(tensor)] = tensor, tensor._version, part.view(tensor.shape)
    return copies
