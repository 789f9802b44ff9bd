"""Weights that are used twice, in part, as functions, not at all, or for a moment not at all."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import Case, forward, images, linears, vectors
from tests.library.cases.networks import residual_network


def twice(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.layer(torch.tanh(m.layer(x)))))


def tied_modules() -> dict[str, Any]:
    parts = linears(first=(4, 4), second=(4, 4), fc=(4, 3))()
    parts["second"].weight = parts["first"].weight
    return parts


def tied_convolutions() -> nn.Module:
    model = residual_network()
    model[4].conv2.weight = model[4].conv1.weight
    model[4].bn2.bias = model[4].bn1.bias
    return model


def chain(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.second(torch.tanh(m.first(x)))))


def functional_tie(m: Any, tokens: Tensor) -> Tensor:
    h = torch.tanh(m.mix(m.embedding(tokens).mean(1)))
    return F.linear(h, m.embedding.weight)


def functional_only(m: Any, x: Tensor) -> Tensor:
    return F.linear(torch.tanh(m.layer(x)), m.unused.weight)


def doubled_by_functional_call(m: Any, x: Tensor) -> Tensor:
    weights = {"weight": 2 * m.layer.weight, "bias": m.layer.bias}
    return m.fc(torch.tanh(torch.func.functional_call(m.layer, weights, (x,))))


SHARED = [
    forward("a module called twice", twice, vectors, linears(layer=(4, 4), fc=(4, 3))),
    forward("tied weights of two modules", chain, vectors, tied_modules),
    Case("tied convolutions and norms", tied_convolutions, images, reference="loop"),
    forward(
        "an embedding tied to a functional use",
        functional_tie,
        lambda: torch.randint(6, (5, 3)),
        lambda: {"embedding": nn.Embedding(6, 4), "mix": nn.Linear(4, 4)},
        fallback=("embedding.weight",),
        reference="loop",
    ),
    forward(
        "a weight used as a function only",
        functional_only,
        vectors,
        linears(layer=(4, 4), unused=(4, 3)),
        fallback=("unused.weight",),
    ),
    forward(
        "a layer called with other weights",
        doubled_by_functional_call,
        vectors,
        linears(layer=(4, 4), fc=(4, 3)),
        fallback=("layer.weight",),
        reference="loop",
    ),
]


def no_grad_trunk(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = torch.tanh(m.trunk(x))
    return m.fc(x)


def two_heads(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.trunk(x))
    return torch.cat([m.left(h), m.right(h)], dim=1)


def detached(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x))) + m.second(x).detach()


def frozen(model: nn.Module) -> None:
    model.first.requires_grad_(False)


PARTIAL = [
    forward(
        "a frozen layer",
        chain,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        settled=frozen,
    ),
    forward("a trunk under no_grad", no_grad_trunk, vectors, linears(trunk=(4, 4), fc=(4, 3))),
    forward("two heads", two_heads, vectors, linears(trunk=(4, 4), left=(4, 2), right=(4, 3))),
    forward(
        "a detached branch", detached, vectors, linears(first=(4, 4), second=(4, 3), fc=(4, 3))
    ),
    forward("an unused layer", lambda m, x: m.fc(x), vectors, linears(unused=(4, 4), fc=(4, 3))),
]
