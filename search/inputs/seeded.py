"""The inputs of all networks of a run under a seed, and their digests."""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from vkdnw.proxies import Inputs
from vkdnw.runtime.threads import one_thread
from vkdnw.search.configuration import Configuration
from vkdnw.search.inputs.batches import DataError, load_batch, random_batch


@lru_cache(maxsize=4)
def batch(configuration: Configuration, resolution: int, seed: int) -> Tensor:
    """The batch of all networks: [batch_size, 3, resolution, resolution] float32."""
    c = configuration
    if c.data is None:
        return random_batch(c.batch_size, resolution, seed).images
    with one_thread():
        return load_batch(Path(c.data), c.batch_size, resolution, seed).images


@lru_cache(maxsize=4)
def batch_on(device: str, configuration: Configuration, resolution: int, seed: int) -> Tensor:
    """The batch of all networks on a device, by torch's name."""
    return batch(configuration, resolution, seed).to(device)


@lru_cache(maxsize=4)
def labelled(
    configuration: Configuration, resolution: int, seed: int
) -> tuple[Tensor, Tensor] | None:
    """Two batches of labelled images, one after the other, for proxies that need labels.

    ``[2 batch_size, 3, resolution, resolution]`` float32 and ``[2 batch_size]`` int64; None where
    the configuration names none. Raises DataError for images without labels.
    """
    c = configuration
    if c.images is None:
        return None
    with one_thread():
        drawn = load_batch(Path(c.images), 2 * c.batch_size, resolution, seed)
    if drawn.labels is None:
        raise DataError(f"{c.images} has no labels, and the proxies that read --images want some")
    return drawn.images, drawn.labels


@lru_cache(maxsize=4)
def proxy_inputs(
    configuration: Configuration, resolution: int, seed: int, device: str = "cpu"
) -> Inputs:
    """Everything that proxies may read, in the run's dtype, on a device by torch's name."""
    if device != "cpu":
        return proxy_inputs(configuration, resolution, seed).to(device)
    dtype = getattr(torch, configuration.dtype)
    noise = batch(configuration, resolution, seed).to(dtype)
    found = labelled(configuration, resolution, seed)
    if found is None:
        return Inputs(noise=noise)
    images, second_images = found[0].to(dtype).chunk(2)
    labels, second_labels = found[1].chunk(2)
    return Inputs(
        noise=noise,
        images=images,
        labels=labels,
        second_images=second_images,
        second_labels=second_labels,
    )


def input_digests(
    configuration: Configuration, resolution: int, seed: int, classes: int | None = None
) -> dict[str, str]:
    """The SHA-256 of everything that networks see under a seed: shapes, dtypes and values.

    Raises DataError for files that cannot be read, and for a label that no network of so many
    classes has a logit for.
    """
    digests = {"batch": _digest(batch(configuration, resolution, seed))}
    found = labelled(configuration, resolution, seed)
    if found is not None:
        if classes is not None and int(found[1].max()) >= classes:
            raise DataError(
                f"{configuration.images} has the label {int(found[1].max())}, and networks of "
                f"{classes} classes know 0 to {classes - 1}: give the number of classes of the "
                "images (--classes)"
            )
        digests["labelled images"] = _digest(*found)
    return digests


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
