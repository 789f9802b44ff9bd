"""Layers whose leading axis is not, or not only, the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.library.cases.case import EVERY, forward, linears, normal, vectors


def per_frame(m: Any, clips: Tensor) -> Tensor:
    frames = m.norm(m.conv(clips.flatten(0, 1)))  # [B T, C, H, W]
    return m.fc(torch.relu(frames).mean((2, 3)).unflatten(0, clips.shape[:2]).flatten(1))


def per_frame_1d(m: Any, clips: Tensor) -> Tensor:
    frames = m.norm(m.conv(clips.flatten(0, 1)))  # [B T, C, L]
    return m.fc(torch.relu(frames).mean(2).unflatten(0, clips.shape[:2]).flatten(1))


def per_clip_3d(m: Any, x: Tensor) -> Tensor:
    volumes = m.norm(m.conv(x.flatten(0, 1)))  # [B 2, C, T, H, W]
    return m.fc(torch.relu(volumes).mean((2, 3, 4)).unflatten(0, x.shape[:2]).flatten(1))


def time_first(m: Any, x: Tensor) -> Tensor:
    y = torch.tanh(m.mix(m.norm(x.transpose(0, 1))))  # [T, B, F]
    return m.fc(y.sum(0))


def time_first_tokens(m: Any, tokens: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.embedding(tokens.T)).cumsum(0)[-1])  # [T, B, F]


def two_views(m: Any, x: Tensor) -> Tensor:
    left, right = torch.tanh(m.mix(torch.cat([x, x.flip(1)]))).chunk(2)  # [2 B, F]
    return m.fc(left * right)


def two_views_of_each(m: Any, x: Tensor) -> Tensor:
    views = torch.tanh(m.mix(torch.stack([x, x.flip(1)], dim=1).flatten(0, 1)))  # [B 2, F]
    return m.fc(views.unflatten(0, (-1, 2)).prod(1))


def on_a_parameter(m: Any, x: Tensor) -> Tensor:
    return m.fc(x * m.mix(m.norm(m.vector)))


def on_latents(m: Any, x: Tensor) -> Tensor:
    return m.fc(x @ m.mix(m.norm(m.latents)))


def one_by_one(m: Any, x: Tensor) -> Tensor:
    return torch.stack([m.fc(torch.tanh(m.conv(image)).flatten()) for image in x])


def frames_parts() -> dict[str, Any]:
    return {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(8, 3)}


LEADING_AXES = [
    forward("frames", per_frame, normal(5, 2, 3, 5, 5), frames_parts),
    forward("frames of one clip", per_frame, normal(1, 2, 3, 5, 5), frames_parts),
    forward(
        "frames of a series",
        per_frame_1d,
        normal(5, 2, 3, 5),
        lambda: {"conv": nn.Conv1d(3, 4, 3), "norm": nn.GroupNorm(2, 4), "fc": nn.Linear(8, 3)},
    ),
    forward(
        "clips of volumes",
        per_clip_3d,
        normal(5, 2, 2, 3, 3, 3),
        lambda: {"conv": nn.Conv3d(2, 4, 2), "norm": nn.BatchNorm3d(4), "fc": nn.Linear(8, 3)},
        fallback=("conv.weight", "conv.bias"),
    ),
    *(
        forward(
            f"time first, {samples} samples of {times} times",
            time_first,
            normal(samples, times, 4),
            lambda: {"norm": nn.LayerNorm(4), "mix": nn.Linear(4, 4), "fc": nn.Linear(4, 3)},
            fallback=("norm.weight", "norm.bias", "mix.weight", "mix.bias") if samples > 1 else (),
        )
        for samples, times in ((2, 2), (4, 4), (5, 5), (5, 2), (2, 4), (1, 4))
    ),
    forward(
        "tokens with time first",
        time_first_tokens,
        lambda: torch.randint(6, (4, 4)),
        lambda: {"embedding": nn.Embedding(6, 4), "fc": nn.Linear(4, 3)},
        fallback=("embedding.weight",),
        reference="loop",
    ),
    forward(
        "two views, one batch after the other",
        two_views,
        vectors,
        linears(mix=(4, 4), fc=(4, 3)),
        fallback=("mix.weight", "mix.bias"),
        reference="loop",
    ),
    forward("two views of each sample", two_views_of_each, vectors, linears(mix=(4, 4), fc=(4, 3))),
    *(
        forward(
            f"layers on a vector of parameters, {samples} samples",
            on_a_parameter,
            normal(samples, 4),
            lambda: {
                "vector": nn.Parameter(torch.ones(4)),
                "norm": nn.LayerNorm(4),
                "mix": nn.Linear(4, 4),
                "fc": nn.Linear(4, 3),
            },
            fallback=("vector", "norm.weight", "norm.bias", "mix.weight", "mix.bias"),
        )
        for samples in (1, 5)
    ),
    *(
        forward(
            f"layers on a matrix of parameters, {samples} samples",
            on_latents,
            normal(samples, 4),
            lambda: {
                "latents": nn.Parameter(torch.ones(4, 4)),
                "norm": nn.LayerNorm(4),
                "mix": nn.Linear(4, 4),
                "fc": nn.Linear(4, 3),
            },
            fallback=("latents", "norm.weight", "norm.bias", "mix.weight", "mix.bias")
            if samples > 1
            else ("latents",),
        )
        for samples in (1, 5)
    ),
    *(
        forward(
            f"{samples} images one by one",
            one_by_one,
            normal(samples, 4, 5, 5),
            lambda: {"conv": nn.Conv2d(4, 4, 3), "fc": nn.Linear(36, 3)},
            fallback=EVERY,
            reference="loop",
        )
        for samples in (1, 2, 5)
    ),
]
