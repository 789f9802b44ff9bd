"""Models whose path, or order of samples, is decided by the data."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import EVERY, Case, forward, linears, normal, vectors


class Router(nn.Module):
    """A mixture of experts: each sample goes to the one expert its gate prefers."""

    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.gate = nn.Linear(4, experts)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            mine = chosen == number
            if mine.any():
                out[mine] = weight[mine, None] * expert(x[mine])
        return out


class EmptyRouter(Router):
    """The same, calling experts with no samples as well."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            out[chosen == number] = expert(x[chosen == number])
        return out


class SortedSequences(nn.Module):
    """Recurrent code of old: samples sorted by length on the way in, and back on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        order = lengths.argsort(descending=True)
        x = torch.tanh(self.mix(self.embedding(tokens[order])))
        inside = torch.arange(tokens.shape[1]) < lengths[order, None]
        pooled = (x * inside[..., None]).sum(1)
        return self.head(pooled[order.argsort()])


class SortedFeatures(nn.Module):
    """Samples in the order of a feature while they go through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        y = torch.tanh(self.mix(x[order]))
        return self.head(torch.empty_like(y).index_copy(0, order, y))


class ExtraBranch(nn.Module):
    """Uses a layer's weight a second time, as a function, for some samples only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.layer(x))
        extra = x[:, 0] > 1.0
        if extra.any():
            y = torch.where(extra[:, None], F.linear(y, self.layer.weight), y)
        return self.head(y)


class DroppedCall(nn.Module):
    """Calls a layer, and for some samples throws the result away for a functional one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if (x[:, 0] > 1.0).any():
            y = F.linear(x, 2 * self.layer.weight, self.layer.bias).where(
                x[:, :1] > 1.0, F.linear(x, self.layer.weight, self.layer.bias)
            )
        return self.head(torch.tanh(y))


# In order for the probe's two samples, out of order in every chunk of three or more.
LENGTHS = torch.tensor([5, 3, 4, 1, 2, 1, 5, 2, 4, 3, 1, 5])


def path_by_size(m: Any, x: Tensor) -> Tensor:
    y = torch.tanh(m.first(x))
    if (x[:, 0] > 1.0).any():
        y = torch.where(x[:, :1] > 1.0, m.second(y), y)
    return m.fc(y)


def late_path() -> Tensor:
    """Only the last sample takes the other path: the probe does not see it."""
    x = torch.randn(5, 4).clamp(-0.9, 0.9)
    x[4, 0] = 2.0
    return x


DECIDED = [
    Case("a mixture of experts", Router, vectors, fallback=EVERY, reference="loop"),
    Case(
        "a mixture that calls every expert",
        EmptyRouter,
        vectors,
        fallback=EVERY,
        reference="loop",
    ),
    Case("a mixture of many samples", Router, normal(40, 4), fallback=EVERY, reference="loop"),
    forward(
        "a path that few samples take",
        path_by_size,
        late_path,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "a second use that few samples make",
        ExtraBranch,
        late_path,
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "a call that few samples drop",
        DroppedCall,
        late_path,
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "samples sorted by length",
        SortedSequences,
        lambda: (torch.randint(9, (12, 5)), LENGTHS),
        fallback=EVERY,
        reference="loop",
    ),
    Case(
        "samples sorted by a feature",
        SortedFeatures,
        lambda: -LENGTHS[:, None] + torch.randn(12, 4) * 0.01,
        fallback=EVERY,
        reference="loop",
    ),
]
