"""The arguments and results of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.library.cases.case import Case, forward, images, linears, vectors
from tests.library.cases.networks import residual_network


@dataclass
class Answer:
    """The result of some models."""

    logits: Tensor
    features: Tensor


def by_keyword(m: Any, x: Tensor) -> Tensor:
    return m.fc(input=m.norm(input=m.conv(input=x)).flatten(1))


def two_inputs(m: Any, image: Tensor, vector: Tensor, scale: Any, flag: bool = True) -> Tensor:
    h = m.conv(image).mean((2, 3)) + m.fc(vector)
    return scale * torch.tanh(h) if flag else h


def answering(kind: str) -> Any:
    def run(m: Any, x: Tensor) -> Any:
        features = torch.tanh(m.trunk(x))
        logits = m.fc(features)
        return {
            "dict": {"features": features, "logits": logits},
            "tuple": (features, logits),
            "dataclass": Answer(logits, features),
        }[kind]

    return run


def two_input_parts() -> dict[str, Any]:
    return {"conv": nn.Conv2d(3, 3, 3), "fc": nn.Linear(4, 3)}


def viewing(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.conv(x).view(len(x), -1))


def asserting(m: Any, x: Tensor) -> Tensor:
    if not x.is_contiguous():
        raise ValueError("contiguous images only")
    return m.fc(m.conv(x).flatten(1))


def squeezing(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.conv(x)).mean((2, 3), keepdim=True).squeeze())


def conv_and_fc(features: int = 64) -> Callable[[], dict[str, Any]]:
    return lambda: {"conv": nn.Conv2d(3, 4, 3), "fc": nn.Linear(features, 3)}


INTERFACES = [
    forward(
        "keyword calls",
        by_keyword,
        images,
        lambda: {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(64, 3)},
    ),
    forward("a tuple of inputs", two_inputs, lambda: (images(), vectors(), 0.7), two_input_parts),
    forward(
        "a tuple with a scalar tensor",
        two_inputs,
        lambda: (images(), vectors(), torch.tensor(0.7), False),
        two_input_parts,
    ),
    forward(
        "a dict of inputs",
        two_inputs,
        lambda: {"vector": vectors(), "image": images(), "scale": 2, "flag": True},
        two_input_parts,
    ),
    *(
        forward(
            f"a {kind} of outputs",
            answering(kind),
            vectors,
            linears(trunk=(4, 4), fc=(4, 3)),
            output=output,
        )
        for kind, output in (
            ("dict", "logits"),
            ("tuple", 1),
            ("tuple", -1),
            ("dataclass", "logits"),
            ("dataclass", lambda answer: answer.logits[:, 1:]),
        )
    ),
    forward("contiguous images that are viewed", viewing, images, conv_and_fc()),
    forward("images that must be contiguous", asserting, images, conv_and_fc()),
    Case(
        "channels-last images",
        residual_network,
        lambda: images().to(memory_format=torch.channels_last),
        reference="loop",
    ),
    Case(
        "non-contiguous images",
        residual_network,
        lambda: torch.randn(5, 6, 12, 3).permute(0, 3, 1, 2)[..., ::2],
        reference="loop",
    ),
    Case(
        "expanded vectors",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
        lambda: torch.randn(5, 1).expand(5, 4),
    ),
    forward("squeeze", squeezing, images, conv_and_fc(4), reference="loop", needs_two=True),
    forward(
        "squeeze, with a fallback",
        lambda m, x: squeezing(m, x * m.scale),
        images,
        lambda: {**conv_and_fc(4)(), "scale": nn.Parameter(torch.ones(()))},
        fallback=("scale",),
        reference="loop",
        needs_two=True,
    ),
]
