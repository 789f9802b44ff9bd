"""The caller's hooks, and models that keep state in attributes and buffers."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from tests.library.cases.case import Case, forward, linears, normal, vectors
from tests.library.cases.sharing import chain


class Stateful(nn.Module):
    """Hands features from one part of its forward to another through an attribute, and dawdles."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.features = torch.tanh(self.trunk(x))
        time.sleep(0.005)
        return self.head(self.features)


class Caching(nn.Module):
    """Registers and reassigns buffers while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("unset", None)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.mean = x.detach().mean(0)
        self.unset = torch.ones(1)
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(4, dtype=x.dtype), persistent=False)
        return self.layer(x * self.late)


def hooked(model: nn.Module) -> None:
    model.first.register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    model.first.register_forward_hook(lambda layer, args, output: output * 3)
    model.second.register_full_backward_hook(lambda layer, given, received: None)


HOOKS = [
    forward(
        "hooks that change inputs and outputs",
        chain,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        settled=hooked,
        reference="loop",
    ),
    Case("features handed on by an attribute", Stateful, normal(8, 4)),
    Case("buffers that change", Caching, vectors, reference="loop"),
]
