"""Scoring one architecture: build, initialise, score.

The only module of a run that needs torch. A result depends on the task and the configuration
alone: the batch comes from the task's seed, the weights from a seed hashed from the network and the
task's seed, the pieces of the computation from a fixed `max_memory`, and one thread computes.
"""

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

import vkdnw
from vkdnw.search.configuration import Configuration, parse_weights
from vkdnw.search.data import load_batch, random_batch
from vkdnw.search.evaluation import Scored, Task
from vkdnw.search.space import SearchSpace
from vkdnw.search.store import now
from vkdnw.threads import one_thread

EIGENVALUES_KEPT = 4096
"""Spectra up to this length are kept whole (8 bytes each): later statistics then cost no scoring.

The usual choice of weights gives at most 128 eigenvalues, every weight gives 10^5 and more.
"""


@dataclass(frozen=True)
class Scorer:
    """The function that workers apply to tasks; small enough to be sent to each of them."""

    space: SearchSpace
    configuration: Configuration

    def __call__(self, task: Task) -> Scored:
        """Build the network in eval mode, draw its weights, and score it on the seed's batch.

        Raises:
            ArchitectureError, ValueError, RuntimeError: from building or scoring.
        """
        begun, started_at = time.perf_counter(), now()
        with one_thread():
            score = self._score(task)
        kept = {"deciles": tuple(score.deciles.tolist())}
        if len(score.eigenvalues) <= EIGENVALUES_KEPT:
            kept["eigenvalues"] = tuple(score.eigenvalues.tolist())
        return Scored(
            values={"vkdnw": score.vkdnw + 0.0},  # -0.0 becomes 0.0, as it would in the store
            started_at=started_at,
            seconds=time.perf_counter() - begun,
            arrays=kept,
            fallback=score.fallback,
        )

    def _score(self, task: Task) -> vkdnw.Score:
        c = self.configuration
        model = self.space.build(task.network)
        vkdnw.initialise(model, c.init, seed=network_seed(task.network, task.seed))
        return vkdnw.score(
            model.eval(),
            batch(c, self.space.resolution, task.seed),
            weights=weights(c.weights),
            smoothing=c.smoothing,
            convention=c.convention,
            dtype=getattr(torch, c.dtype),
            max_memory=c.max_memory,
        )


def network_seed(network: str, seed: int) -> int:
    """The seed of a network's weights, in [0, 2^63): its own, and the same on every machine."""
    digest = hashlib.sha256(f"{network}\n{seed}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


@lru_cache(maxsize=4)
def batch(configuration: Configuration, resolution: int, seed: int) -> Tensor:
    """The input of all networks under a seed: [batch_size, 3, resolution, resolution] float32."""
    c = configuration
    if c.data is None:
        return random_batch(c.batch_size, resolution, seed).images
    with one_thread():
        return load_batch(Path(c.data), c.batch_size, resolution, seed).images


def input_digests(configuration: Configuration, resolution: int, seed: int) -> dict[str, str]:
    """The SHA-256 of everything that networks see under a seed: shapes, dtypes and values."""
    return {"batch": _digest(batch(configuration, resolution, seed))}


def _digest(tensor: Tensor) -> str:
    values = tensor.contiguous()
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}".encode())
    digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def weights(text: str) -> vkdnw.weights.WeightChoice:
    """The choice of weights that a configuration names."""
    kind, numbers = parse_weights(text)
    match kind:
        case "first":
            return vkdnw.weights.first(**numbers)
        case "spaced":
            return vkdnw.weights.spaced(**numbers)
        case "random":
            return vkdnw.weights.random(**numbers)
    return vkdnw.weights.every()
