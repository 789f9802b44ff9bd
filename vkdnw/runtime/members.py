"""A model's modules, parameters and buffers, listed once: walking small modules takes time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Members:
    """By name, each once, in the order in which torch lists them."""

    modules: dict[str, nn.Module]
    parameters: dict[str, nn.Parameter]
    buffers: dict[str, Tensor]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(iter(self.parameters.values())).device

    @classmethod
    def of(cls, model: nn.Module) -> Members:
        """One walk through the model."""
        modules = modules_of(model)
        return cls(modules, _held(modules, "_parameters"), _held(modules, "_buffers"))


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """``dict(model.named_modules())``, whose generators hand each module up level by level."""
    found: dict[str, nn.Module] = {}
    seen: set[nn.Module] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if module not in seen:
            seen.add(module)
            found[name] = module
            prefix = f"{name}." if name else ""
            children = [
                (prefix + key, each) for key, each in module._modules.items() if each is not None
            ]
            waiting += reversed(children)
    return found


def _held(modules: dict[str, nn.Module], kind: str) -> dict[str, Any]:
    """Tensors of all modules; one that several hold by its first name."""
    first: dict[int, tuple[str, Tensor]] = {}
    for prefix, module in modules.items():
        for name, tensor in getattr(module, kind).items():
            if tensor is not None and id(tensor) not in first:
                first[id(tensor)] = (f"{prefix}.{name}" if prefix else name, tensor)
    return dict(first.values())


@dataclass(frozen=True)
class Unwritten:
    """The parts of a model that no forward pass writes to."""

    modules: Sequence[nn.Module]
    tensors: Mapping[str, Tensor]
    others: Sequence[nn.Module]  # the rest of its modules
