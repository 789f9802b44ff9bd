"""Moves a model to a device in one copy instead of one for each tensor."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ALIGNMENT = 16  # elements of any dtype: kernels load 16 bytes at once


def moved(model: nn.Module, device: str) -> nn.Module:
    """As ``model.to(device)``, in one copy for each dtype.

    A network of hundreds of small tensors waits longer for the copies to start than for the bytes.
    They go through pinned memory where the device is a GPU. Parameters become new ones, views of
    one tensor there; parameters that are tied stay tied. Gradients are left behind.
    """
    wanted = torch.device(device)
    held: list[tuple[dict[str, Any], str, Tensor]] = [
        (tensors, name, tensor)
        for module in model.modules()
        for tensors in (module._parameters, module._buffers)
        for name, tensor in tensors.items()
        if tensor is not None
    ]
    distinct = {id(tensor): tensor for _, _, tensor in held}
    there: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(tensor.dtype for tensor in distinct.values()):
        alike = {key: tensor for key, tensor in distinct.items() if tensor.dtype == dtype}
        there |= _copied(alike, dtype, wanted)
    for tensors, name, tensor in held:
        tensors[name] = there[id(tensor)]
    return model


def _copied(
    tensors: Mapping[int, Tensor], dtype: torch.dtype, device: torch.device
) -> dict[int, Tensor]:
    """Copies of tensors of one dtype on a device, each at an aligned place of one piece."""
    rooms = [-(-tensor.numel() // ALIGNMENT) * ALIGNMENT for tensor in tensors.values()]
    pinned = device.type == "cuda"
    here = torch.empty(sum(rooms), dtype=dtype, pin_memory=pinned)
    for place, tensor in zip(here.split(rooms), tensors.values(), strict=True):
        place[: tensor.numel()].view(tensor.shape).copy_(tensor.detach())
    pieces = here.to(device, non_blocking=True).split(rooms)
    copies: dict[int, Tensor] = {}
    for (key, tensor), piece in zip(tensors.items(), pieces, strict=True):
        copy = piece[: tensor.numel()].view(tensor.shape)
        if isinstance(tensor, nn.Parameter):
            copies[key] = nn.Parameter(copy, tensor.requires_grad)
        else:
            copies[key] = copy
    return copies
