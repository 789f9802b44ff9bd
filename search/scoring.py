"""Scoring architectures: build, initialise, compute the values asked for.

A result depends on the task and the configuration alone: the inputs come from the task's seed, the
weights and random draws from a seed hashed from the network and the task's seed, the pieces of the
computation from a fixed `max_memory`, and one thread computes.
"""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

import vkdnw
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.runtime.threads import one_thread
from vkdnw.score_group import score_group
from vkdnw.search import limits
from vkdnw.search.configuration import Configuration, parse_scalars
from vkdnw.search.device_transfer import moved
from vkdnw.search.inputs.seeded import batch_on, proxy_inputs
from vkdnw.search.proxies_on_device import compute_on
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.store import now
from vkdnw.search.tasks import Scored, Task

EIGENVALUES_KEPT = 4096
"""Spectra up to this length are kept whole (8 bytes each): later statistics then cost no scoring.

The usual choice of weights gives at most 128 eigenvalues, every weight gives 10^5 and more.
"""
VKDNW = "vkdnw"
"""The proxy that has options in the configuration, and is computed with them."""


@dataclass(frozen=True)
class _Found:
    """The results of some of a task's values."""

    values: Mapping[str, float]
    reasons: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()

    def with_score(self, score: vkdnw.Score | vkdnw.ZeroFisherError) -> _Found:
        """These and VKDNW; a Fisher matrix of zeros is the network's own, and no fault of the
        run."""
        if isinstance(score, vkdnw.ZeroFisherError):
            values = {VKDNW: math.nan, **self.values}
            return replace(self, values=values, reasons={VKDNW: str(score), **self.reasons})
        kept = {"deciles": tuple(score.deciles.tolist())}
        if len(score.eigenvalues) <= EIGENVALUES_KEPT:
            kept["eigenvalues"] = tuple(score.eigenvalues.tolist())
        values = {VKDNW: score.vkdnw, **self.values}
        return replace(self, values=values, arrays=kept, fallback=score.fallback)

    def scored(self, started_at: str, seconds: float) -> Scored:
        """The result of the task."""
        return Scored(
            # -0.0 becomes 0.0, as it would in the store
            values={name: value + 0.0 for name, value in self.values.items()},
            started_at=started_at,
            seconds=seconds,
            arrays=self.arrays,
            reasons=self.reasons,
            fallback=self.fallback,
        )


@dataclass(frozen=True)
class _Begun:
    """A task but for VKDNW."""

    found: _Found
    model: nn.Module | None  # that has it, where it is asked for


@dataclass(frozen=True)
class Scorer:
    """The function that workers apply to tasks; small enough to be sent to each of them."""

    space: SearchSpace
    configuration: Configuration
    device: str = "cpu"
    """Where values are computed, by torch's name; counts are taken on the CPU."""
    at_once: int = 1
    """How many tasks a worker is given together."""

    def __call__(self, task: Task) -> Scored:
        """Build the network, draw its weights, and compute the values on the seed's inputs.

        Raises:
            ArchitectureError, ValueError, RuntimeError: from building or scoring.
        """
        begun, started_at = time.perf_counter(), now()
        with _quietly():
            built = self._begun(task)
            found = built.found
            if built.model is not None:
                found = found.with_score(self._score(built.model, task.seed))
        return found.scored(started_at, time.perf_counter() - begun)

    def together(self, tasks: Sequence[Task]) -> list[Scored | None]:
        """Several tasks, whose networks share launches on a GPU; the bits are those of each alone.

        Returns None for a task that fails: carried out alone, it tells why.
        """
        begun, started_at = time.perf_counter(), now()
        with _quietly():
            found = self._found_together(tasks)
        seconds = (time.perf_counter() - begun) / len(tasks)
        return [None if each is None else each.scored(started_at, seconds) for each in found]

    def _found_together(self, tasks: Sequence[Task]) -> list[_Found | None]:
        """One group for each seed, whose batch its networks share."""
        found: list[_Found | None] = []
        models: dict[int, dict[int, nn.Module]] = {}  # by seed, then by the task's place
        for place, task in enumerate(tasks):
            try:
                built = self._begun(task)
            except Exception:
                found.append(None)
                continue
            found.append(built.found)
            if built.model is not None:
                models.setdefault(task.seed, {})[place] = built.model
        for seed, alike in models.items():
            scores = score_group(list(alike.values()), self._batch(seed), **self._options())
            for place, score in zip(alike, scores, strict=True):
                others = found[place]
                assert others is not None
                if isinstance(score, vkdnw.Score | vkdnw.ZeroFisherError):
                    found[place] = others.with_score(score)
                else:
                    found[place] = None
        return found

    def _begun(self, task: Task) -> _Begun:
        """Everything but VKDNW, and the model that has it, on its device."""
        seed = network_seed(task.network, task.seed)
        model = self._build(task, seed)
        others = tuple(name for name in task.names if name != VKDNW)
        found = self._proxies(model, others, task, seed) if others else _Found({})
        if VKDNW not in task.names:
            return _Begun(found, None)
        vkdnw.initialise(model, self.configuration.init, seed=seed)
        if model.training:
            model.eval()
        return _Begun(found, model if self.device == "cpu" else moved(model, self.device))

    def _build(self, task: Task, seed: int) -> nn.Module:
        """Drawn under the seed: parameters without a scheme (tokens, positions) keep their
        values."""
        limits.check_network(self.space.cost(task.network), task.network)
        dtype = getattr(torch, self.configuration.dtype)
        rebuild = getattr(self.space, "rebuild", None)
        alike = self.device == "cpu" and dtype == torch.get_default_dtype()
        lone = self.at_once == 1  # one model at a time has the modules
        if rebuild is not None and alike and lone and task.names == (VKDNW,):
            model: nn.Module = rebuild(task.network)  # whose weights are all drawn anew
            return model
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = self.space.build(task.network)
        return model if _is_of(model, dtype) else model.to(dtype)

    def _score(self, model: nn.Module, seed: int) -> vkdnw.Score | vkdnw.ZeroFisherError:
        try:
            return vkdnw.score(model, self._batch(seed), **self._options())
        except vkdnw.ZeroFisherError as error:
            return error

    def _batch(self, seed: int) -> Tensor:
        return batch_on(self.device, self.configuration, self.space.resolution, seed)

    def _options(self) -> dict[str, Any]:
        """The keywords of `vkdnw.score`."""
        c = self.configuration
        return {
            "weights": scalars(c.scalars),
            "smoothing": c.smoothing,
            "convention": c.convention,
            "dtype": getattr(torch, c.dtype),
            "max_memory": c.max_memory,
            "mode": c.mode,
        }

    def _proxies(self, model: nn.Module, names: tuple[str, ...], task: Task, seed: int) -> _Found:
        """Every other value; each proxy draws the weights of its paper."""
        c, resolution = self.configuration, self.space.resolution
        found = compute_on(
            self.device,
            names,
            model,
            lambda device: proxy_inputs(c, resolution, task.seed, device),
            seed=seed,
            features=self.space.features(model),
            convention="released" if c.convention == "released" else "default",
            initialise=True,
        )
        return _Found(
            values={name: value.value for name, value in found.items()},
            reasons={name: value.reason for name, value in found.items() if value.reason},
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """One thread computes, and says nothing that each network or worker would say: the rank of each
    spectrum is on record instead, and so is which kernels compute."""
    with one_thread(), gc_disabled(), warnings.catch_warnings():
        warnings.simplefilter("ignore", vkdnw.LowRankWarning)
        warnings.simplefilter("ignore", vkdnw.PlainOpsWarning)
        yield


def _is_of(model: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a model has the dtype already; converting it for nothing takes time."""
    held = (*model.parameters(), *model.buffers())
    return all(tensor.dtype == dtype for tensor in held if tensor.is_floating_point())


def network_seed(network: str, seed: int) -> int:
    """The seed of a network's weights, in [0, 2^63): its own, and the same on every machine."""
    digest = hashlib.sha256(f"{network}\n{seed}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def scalars(text: str) -> vkdnw.weights.WeightChoice:
    """The choice of scalars that a configuration names."""
    kind, numbers = parse_scalars(text)
    match kind:
        case "first":
            return vkdnw.weights.first(**numbers)
        case "spaced":
            return vkdnw.weights.spaced(**numbers)
        case "sampled":
            return vkdnw.weights.sampled(**numbers)
        case "random":
            return vkdnw.weights.random(**numbers)
    return vkdnw.weights.every()
