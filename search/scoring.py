"""Scoring one architecture: build, initialise, compute the values asked for.

A result depends on the task and the configuration alone: the inputs come from the task's seed, the
weights and random draws from a seed hashed from the network and the task's seed, the pieces of the
computation from a fixed `max_memory`, and one thread computes.
"""

import hashlib
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

import vkdnw
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.runtime.threads import one_thread
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


@dataclass(frozen=True)
class Scorer:
    """The function that workers apply to tasks; small enough to be sent to each of them."""

    space: SearchSpace
    configuration: Configuration
    device: str = "cpu"
    """Where values are computed, by torch's name; counts are taken on the CPU."""

    def __call__(self, task: Task) -> Scored:
        """Build the network, draw its weights, and compute the values on the seed's inputs.

        Raises:
            ArchitectureError, ValueError, RuntimeError: from building or scoring.
        """
        begun, started_at = time.perf_counter(), now()
        with one_thread(), gc_disabled(), warnings.catch_warnings():
            # Each network or worker would say it; the rank of each spectrum is on record instead,
            # and so is which kernels compute.
            warnings.simplefilter("ignore", vkdnw.LowRankWarning)
            warnings.simplefilter("ignore", vkdnw.PlainOpsWarning)
            found = self._found(task)
        return Scored(
            # -0.0 becomes 0.0, as it would in the store
            values={name: value + 0.0 for name, value in found.values.items()},
            started_at=started_at,
            seconds=time.perf_counter() - begun,
            arrays=found.arrays,
            reasons=found.reasons,
            fallback=found.fallback,
        )

    def _found(self, task: Task) -> _Found:
        seed = network_seed(task.network, task.seed)
        model = self._build(task, seed)
        others = tuple(name for name in task.names if name != VKDNW)
        found = self._proxies(model, others, task, seed) if others else _Found({})
        if VKDNW not in task.names:
            return found
        own = self._vkdnw(model, task, seed)
        return replace(
            own,
            values={**own.values, **found.values},
            reasons={**own.reasons, **found.reasons},
        )

    def _build(self, task: Task, seed: int) -> nn.Module:
        """Drawn under the seed: parameters without a scheme (tokens, positions) keep their
        values."""
        limits.check_network(self.space.cost(task.network), task.network)
        dtype = getattr(torch, self.configuration.dtype)
        rebuild = getattr(self.space, "rebuild", None)
        alike = self.device == "cpu" and dtype == torch.get_default_dtype()
        if rebuild is not None and alike and task.names == (VKDNW,):
            model: nn.Module = rebuild(task.network)  # whose weights are all drawn anew
            return model
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            model = self.space.build(task.network)
        return model if _is_of(model, dtype) else model.to(dtype)

    def _vkdnw(self, model: nn.Module, task: Task, seed: int) -> _Found:
        c = self.configuration
        vkdnw.initialise(model, c.init, seed=seed)
        if model.training:
            model.eval()
        try:
            score = vkdnw.score(
                model if self.device == "cpu" else moved(model, self.device),
                batch_on(self.device, c, self.space.resolution, task.seed),
                weights=scalars(c.scalars),
                smoothing=c.smoothing,
                convention=c.convention,
                dtype=getattr(torch, c.dtype),
                max_memory=c.max_memory,
                mode=c.mode,
            )
        except vkdnw.ZeroFisherError as error:  # the network's own, and no fault of the run
            return _Found({VKDNW: math.nan}, reasons={VKDNW: str(error)})
        kept = {"deciles": tuple(score.deciles.tolist())}
        if len(score.eigenvalues) <= EIGENVALUES_KEPT:
            kept["eigenvalues"] = tuple(score.eigenvalues.tolist())
        return _Found({VKDNW: score.vkdnw}, arrays=kept, fallback=score.fallback)

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
