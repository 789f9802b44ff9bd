"""Batches of images to score networks on: standard normal noise, or images from files."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vkdnw.search.inputs.image_sources import CHANNELS, DataError, ImageSource, open_source
from vkdnw.search.inputs.preprocessing import middle_square, normalised

__all__ = ["DataError", "ImageBatch", "load_batch", "random_batch"]


@dataclass(frozen=True)
class ImageBatch:
    """A batch of images and where it came from."""

    images: Tensor
    """``[B, C, R, R]`` float32 on the CPU."""
    labels: Tensor | None
    """``[B]`` int64, where the source has labels."""
    source: str
    """The source and its preprocessing, in one line."""
    sha256: str | None
    """Of the file; of a folder, of its images' names and sizes; None for noise."""


def random_batch(
    batch_size: int, resolution: int, seed: int, channels: int = CHANNELS
) -> ImageBatch:
    """Standard normal images ``[batch_size, channels, resolution, resolution]``, float32.

    Drawn from a generator of their own, so equal arguments give equal images and PyTorch's global
    generator is left alone. Raises ValueError for a size below 1.
    """
    _check_sizes(batch_size=batch_size, resolution=resolution, channels=channels)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, channels, resolution, resolution, generator=generator)
    return ImageBatch(images, None, f"standard normal noise, seed {seed}", None)


def load_batch(path: Path | str, batch_size: int, resolution: int, seed: int) -> ImageBatch:
    """Draw ``batch_size`` images from a file or folder, without replacement, in random order.

    ``path`` is one of

    * `.npz` with `images` and perhaps `labels`, `.pt` with a tensor, a pair (images, labels) or a
      dict with those keys: uint8 or floating point, ``[N, 3, H, W]`` or ``[N, H, W, 3]``, whichever
      has the 3. Neither format is unpickled;
    * a folder of images at any depth, in the order of their sorted paths, converted to RGB; the
      folders right below it number the labels, if every image is in one;
    * `.bin`: CIFAR-10's or CIFAR-100's binary version (fine labels);
    * the folder that torchvision's CIFAR10 or CIFAR100 is given as its root, or the one in it: the
      training set.

    The middle square of each image is resized to ``resolution`` x ``resolution`` (bilinear with
    antialiasing) where it has another size. Then every channel is shifted and scaled to mean 0 and
    standard deviation 1 over the batch drawn, so that the scale of the stored values does not
    matter.

    Raises:
        DataError: a ValueError; the file is invalid, or has too few images.
        ValueError: a size below 1.
    """
    _check_sizes(batch_size=batch_size, resolution=resolution)
    path = Path(path)
    source = open_source(path)
    if source.count < batch_size:
        raise DataError(
            f"{path} has {source.count} image(s), fewer than a batch of {batch_size}; lower the "
            "batch size or give more images"
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(source.count, generator=generator)[:batch_size]
    images = torch.stack(
        [middle_square(source.read(index), resolution) for index in drawn.tolist()]
    )
    return ImageBatch(
        images=normalised(path, images),
        labels=None if source.labels is None else source.labels[drawn],
        source=_provenance(source, resolution, seed),
        sha256=source.sha256,
    )


def _provenance(source: ImageSource, resolution: int, seed: int) -> str:
    return (
        f"{source.description}, drawn with seed {seed}, middle square at {resolution} pixels, "
        "each channel of the batch at mean 0 and standard deviation 1"
    )


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
