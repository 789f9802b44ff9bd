"""The scores of models one by one, each with the reason if there is none."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

from torch import Tensor, nn

import vkdnw
from vkdnw import proxies
from vkdnw.options import Mode
from vkdnw.proxies.inputs import Inputs
from vkdnw.search.inputs.batches import load_batch
from vkdnw.search.models.named_models import Source, input_shape, noise
from vkdnw.search.proxies_on_device import compute_on
from vkdnw.weights import WeightChoice

Init = Literal["own", "kaiming_normal"]


@dataclass(frozen=True)
class Settings:
    """How models are scored."""

    batch_size: int = 64
    resolution: int | None = None
    """Side of the images; None: the model's own."""
    classes: int = 10
    """Of the head of a library's model."""
    weights: Path | None = None
    init: Init = "own"
    """The weights that a constructor draws, or the paper's for convolutions and linear layers."""
    choice: WeightChoice = vkdnw.weights.DEFAULT
    proxies: tuple[str, ...] = ()
    """Values besides VKDNW."""
    seed: int = 0
    seeds: int = 1
    """Score under so many seeds, from `seed` on, and give means and deviations."""
    max_memory: int | None = None
    mode: Mode = "auto"
    """How derivatives are taken; see :func:`vkdnw.fisher`."""
    device: str = "cpu"
    """Where values are computed, by torch's name; counts are taken on the CPU."""
    data: Path | None = None
    """Real images instead of standard normal input."""
    images: Path | None = None
    """Labelled images for the proxies that are defined on labels."""


@dataclass(frozen=True)
class ModelScore:
    """A line of the table."""

    model: str
    refused: str | None = None
    """Why there is no score: the error's type and message."""
    input: str = ""
    """Channels x height x width, or tokens."""
    parameters: int = 0
    layers: int = 0
    """Parameter tensors."""
    values: Mapping[str, float] = field(default_factory=dict)
    """`vkdnw`, `single`, and the proxies asked for; NaN has a reason. Means over seeds."""
    spread: Mapping[str, float] = field(default_factory=dict)
    """Standard deviations over seeds (n - 1); empty for one seed."""
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
    """Build and score one model; any error becomes the line's reason."""
    begun = time.perf_counter()
    try:
        seeds = range(settings.seed, settings.seed + settings.seeds)
        found = [_score(source, settings, seed) for seed in seeds]
    except Exception as error:
        message = " ".join(str(error).split()) or "no message"
        return ModelScore(
            source.text,
            refused=f"{type(error).__name__}: {message}",
            seconds=time.perf_counter() - begun,
        )
    return _over_seeds(found, time.perf_counter() - begun)


def _score(source: Source, settings: Settings, seed: int) -> ModelScore:
    model = source.build(settings.classes, seed, settings.weights)
    if settings.init != "own":
        vkdnw.initialise(model, settings.init, seed=seed)
    batch = _batch(model, settings, seed)
    with _on(model, settings.device):
        found = vkdnw.score(
            model,
            _moved(batch, settings.device),
            weights=settings.choice,
            max_memory=settings.max_memory,
            mode=settings.mode,
        )
    others = _others(model, batch, settings, seed) if settings.proxies else {}
    values = {name: value.value for name, value in others.items()}
    return ModelScore(
        source.text,
        input=_described(batch),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=found.layers,
        values={"vkdnw": found.vkdnw, "single": found.single, **values},
        reasons={name: value.reason for name, value in others.items() if value.reason},
        fallback=len(found.fallback),
        unreached=len(found.unreached),
        mode=found.mode,
        mode_reason=found.mode_reason,
    )


def _others(
    model: nn.Module, batch: Tensor | Mapping[str, Tensor], settings: Settings, seed: int
) -> Mapping[str, proxies.Value]:
    if not isinstance(batch, Tensor):
        raise ValueError("proxies are defined on images; leave --proxies out for a model of texts")
    inputs = _inputs(model, batch, settings, seed)
    return compute_on(settings.device, settings.proxies, model, inputs.to, seed=seed)


def _batch(model: nn.Module, settings: Settings, seed: int) -> Tensor | Mapping[str, Tensor]:
    if settings.data is None:
        return noise(model, settings.batch_size, settings.resolution, seed)
    side = _side(model, settings)
    return load_batch(settings.data, settings.batch_size, side, seed).images


def _inputs(model: nn.Module, batch: Tensor, settings: Settings, seed: int) -> Inputs:
    if settings.images is None:
        return Inputs(noise=batch)
    drawn = load_batch(settings.images, 2 * settings.batch_size, _side(model, settings), seed)
    if drawn.labels is None:
        raise ValueError(f"{settings.images} has no labels, and proxies that read it want some")
    images, second_images = drawn.images.chunk(2)
    labels, second_labels = drawn.labels.chunk(2)
    return Inputs(
        noise=batch,
        images=images,
        labels=labels,
        second_images=second_images,
        second_labels=second_labels,
    )


def _side(model: nn.Module, settings: Settings) -> int:
    channels, height, width = input_shape(model, settings.resolution)
    if channels != 3 or height != width:
        raise ValueError(
            f"images are read as squares of 3 channels, and the model takes {channels}x{height}x"
            f"{width}; give --resolution, or leave --data and --images out"
        )
    return height


@contextmanager
def _on(model: nn.Module, device: str) -> Iterator[None]:
    """The model on a device, and back on the CPU afterwards."""
    if device == "cpu":
        yield
        return
    model.to(device)
    try:
        yield
    finally:
        model.to("cpu")


def _moved(batch: Tensor | Mapping[str, Tensor], device: str) -> Tensor | dict[str, Tensor]:
    if isinstance(batch, Tensor):
        return batch.to(device)
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _described(batch: Tensor | Mapping[str, Tensor]) -> str:
    if isinstance(batch, Tensor):
        return "x".join(map(str, batch.shape[1:]))
    return f"{batch['input_ids'].shape[1]} tokens"


def _over_seeds(found: Sequence[ModelScore], seconds: float) -> ModelScore:
    """One line of several: means, and deviations."""
    first = found[0]
    columns = {name: [one.values[name] for one in found] for name in first.values}
    spread = {} if len(found) == 1 else {name: _deviation(c) for name, c in columns.items()}
    return ModelScore(
        first.model,
        input=first.input,
        parameters=first.parameters,
        layers=first.layers,
        values={name: fmean(column) for name, column in columns.items()},
        spread=spread,
        reasons={name: reason for one in found for name, reason in one.reasons.items()},
        fallback=first.fallback,
        unreached=first.unreached,
        mode=first.mode,
        mode_reason=first.mode_reason,
        seconds=seconds,
    )


def _deviation(column: Sequence[float]) -> float:
    return stdev(column) if all(map(math.isfinite, column)) else math.nan
