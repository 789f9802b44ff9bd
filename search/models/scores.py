"""The scores of models one by one, each with a true reason where there is none."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import vkdnw
from vkdnw import proxies
from vkdnw.per_sample.mode import Mode
from vkdnw.proxies.inputs import Inputs
from vkdnw.search.models.source import Source, input_shape
from vkdnw.weights import WeightChoice

Init = Literal["own", "kaiming_normal"]


@dataclass(frozen=True)
class Settings:
    """How models are scored."""

    batch_size: int = 8
    resolution: int | None = None
    """Side of the images; None: what the model is made for."""
    classes: int = 10
    """Of a timm model's head."""
    weights: Path | None = None
    init: Init = "own"
    """The weights that a constructor draws, or the paper's for convolutions and linear layers."""
    choice: WeightChoice = vkdnw.weights.DEFAULT
    proxies: tuple[str, ...] = ()
    """Values besides VKDNW."""
    seed: int = 0
    max_memory: int | None = None
    mode: Mode = "auto"
    """How derivatives are taken; see :func:`vkdnw.fisher`."""


@dataclass(frozen=True)
class ModelScore:
    """A line of the table."""

    model: str
    refused: str | None = None
    """Why there is no score: the error's type and message."""
    input: str = ""
    """Channels x height x width."""
    parameters: int = 0
    layers: int = 0
    """Parameter tensors."""
    values: Mapping[str, float] = field(default_factory=dict)
    """`vkdnw`, `single`, and the proxies asked for; NaN has a reason."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    fallback: int = 0
    """Parameters differentiated sample by sample, because no rule covers their layers."""
    unreached: int = 0
    """Chosen parameters that the logits do not depend on."""
    mode: str = ""
    """In which VKDNW's derivatives were taken: reverse or forward."""
    mode_reason: str = ""
    seconds: float = 0.0


def score_model(source: Source, settings: Settings) -> ModelScore:
    """Build and score one model; whatever goes wrong becomes the line's reason."""
    begun = time.perf_counter()
    try:
        model = source.build(settings.classes, settings.seed, settings.weights)
        if settings.init != "own":
            vkdnw.initialise(model, settings.init, seed=settings.seed)
        return _score(source.text, model, settings, begun)
    except Exception as error:
        message = " ".join(str(error).split()) or "no message"
        return ModelScore(
            source.text,
            refused=f"{type(error).__name__}: {message}",
            seconds=time.perf_counter() - begun,
        )


def _score(name: str, model: nn.Module, settings: Settings, begun: float) -> ModelScore:
    shape = input_shape(model, settings.resolution)
    generator = torch.Generator().manual_seed(settings.seed)
    images = torch.randn(settings.batch_size, *shape, generator=generator)
    found = vkdnw.score(
        model,
        images,
        weights=settings.choice,
        max_memory=settings.max_memory,
        mode=settings.mode,
    )
    others = (
        proxies.compute(settings.proxies, model, Inputs(noise=images), seed=settings.seed)
        if settings.proxies
        else {}
    )
    values = {name: value.value for name, value in others.items()}
    return ModelScore(
        name,
        input="x".join(map(str, shape)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=found.layers,
        values={"vkdnw": found.vkdnw, "single": found.single, **values},
        reasons={name: value.reason for name, value in others.items() if value.reason},
        fallback=len(found.fallback),
        unreached=len(found.unreached),
        mode=found.mode,
        mode_reason=found.mode_reason,
        seconds=time.perf_counter() - begun,
    )
