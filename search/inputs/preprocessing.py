"""Preprocessing of images: middle squares of one size, channels of mean 0 and deviation 1."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.search.inputs.image_sources import DataError


def middle_square(image: Tensor, resolution: int) -> Tensor:
    """The middle square of ``image`` [C, H, W], resized to [C, resolution, resolution]."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    if side == resolution:
        return square
    size = (resolution, resolution)
    return F.interpolate(square[None], size, mode="bilinear", antialias=True)[0]


def normalised(path: Path, images: Tensor) -> Tensor:
    """The images ``[B, C, R, R]``, each channel of the batch at mean 0 and standard deviation 1.

    Raises DataError, naming the file, for values that are not finite and for a constant channel.
    """
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
