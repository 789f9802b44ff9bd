"""Layers run by something else than a plain call: checkpoints, vmap, scripts, micro-batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.library.cases.case import EVERY, Case, forward, linears, normal, vectors


def checkpointed(m: Any, x: Tensor) -> Tensor:
    inner = lambda y: torch.tanh(m.second(torch.tanh(m.first(y))))  # noqa: E731
    return m.fc(checkpoint(inner, x, use_reentrant=False))


def mapped(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.vmap(lambda row: torch.tanh(m.first(row)))(x))


def micro_batches(m: Any, x: Tensor) -> Tensor:
    return torch.cat([m.fc(torch.tanh(m.first(piece))) for piece in x.split(2)])


def turned(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x.flip(0)))).flip(0)


def native_attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = (layer(x)[:, None] for layer in (m.first, m.second, m.third))
    return m.fc(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


def attention_parts() -> dict[str, Any]:
    parts = linears(first=(4, 4), third=(4, 4), fc=(4, 3))()
    # A bias of all keys cancels in the softmax, and its derivative is rounding.
    return {**parts, "second": nn.Linear(4, 4, bias=False)}


def spectrum_of_features(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.fft.rfft(m.first(x)).abs())


def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))


WRAPPED = [
    forward(
        "a checkpoint",
        checkpointed,
        vectors,
        linears(first=(4, 4), second=(4, 4), fc=(4, 3)),
        reference="loop",
    ),
    forward(
        "vmap inside",
        mapped,
        vectors,
        linears(first=(4, 4), fc=(4, 3)),
        fallback=("first.weight", "first.bias"),
        reference="loop",
    ),
    forward(
        "micro-batches",
        micro_batches,
        normal(20, 4),
        linears(first=(4, 4), fc=(4, 3)),
        fallback=EVERY,
    ),
    forward(
        "a batch turned round",
        turned,
        vectors,
        linears(first=(4, 4), fc=(4, 3)),
        fallback=EVERY,
    ),
    forward(
        "torch's own attention",
        native_attention,
        normal(5, 3, 4),
        attention_parts,
    ),
    forward("a Fourier transform", spectrum_of_features, vectors, linears(first=(4, 4), fc=(3, 3))),
    Case("a scripted model", scripted, vectors, fallback=EVERY, reference="loop"),
]
