"""Batches of images to score networks on: standard normal noise, or images from files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.search.inputs.image_sources import CHANNELS, DataError, ImageSource, open_source

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
    images = torch.stack([_square(source.read(index), resolution) for index in drawn.tolist()])
    return ImageBatch(
        images=_normalised(path, images),
        labels=None if source.labels is None else source.labels[drawn],
        source=_provenance(source, resolution, seed),
        sha256=source.sha256,
    )


def _provenance(source: ImageSource, resolution: int, seed: int) -> str:
    return (
        f"{source.description}, drawn with seed {seed}, middle square at {resolution} pixels, "
        "each channel of the batch at mean 0 and standard deviation 1"
    )


def _square(image: Tensor, resolution: int) -> Tensor:
    """The middle square of ``image`` [C, H, W], resized to [C, resolution, resolution]."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    if side == resolution:
        return square
    size = (resolution, resolution)
    return F.interpolate(square[None], size, mode="bilinear", antialias=True)[0]


def _normalised(path: Path, images: Tensor) -> Tensor:
    # NumPy sums in one order whatever the number of threads, so the batch is the same to the bit.
    values, over = images.numpy(), (0, 2, 3)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: the images drawn hold values that are not finite")
    constant = values.min(over) == values.max(over)  # [C]
    if constant.any():
        raise DataError(
            f"{path}: channel {int(constant.argmax())} has one value in all {len(values)} images "
            "drawn, so its standard deviation cannot be made 1; draw more images, or others"
        )
    mean = values.mean(over, dtype=np.float64)  # [C]
    deviation = values.std(over, dtype=np.float64)  # [C]
    scaled = (values - mean[:, None, None]) / deviation[:, None, None]
    return torch.from_numpy(scaled.astype(np.float32))


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
