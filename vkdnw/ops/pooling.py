"""The 3x3 mean pooling of NAS-Bench-201 and its data gradient on the CPU, in channels_last.

The compiled library is loaded on the first call. The ops have no derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import registration


def avg_pool3x3(x: Tensor) -> Tensor:
    """`AvgPool2d(3, 1, 1, count_include_pad=False)`.

    The largest error is a few float32 roundings of the largest element. The bits of the result do
    not depend on the number of threads, nor on other samples of the batch.

    Args:
        x: [N, C, H, W] float32 channels_last.

    Returns:
        [N, C, H, W] float32 channels_last.

    Raises:
        ValueError: another number of dimensions, dtype, device or layout.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.avg_pool3x3(x)
    return result


def avg_pool3x3_input_gradient(grad: Tensor) -> Tensor:
    """Gradient with respect to the input of `AvgPool2d(3, 1, 1, count_include_pad=False)`.

    The largest error is a few float32 roundings of the largest element. The bits of the result do
    not depend on the number of threads, nor on other samples of the batch.

    Args:
        grad: [N, C, H, W] float32 channels_last, gradient of the pooling's output.

    Returns:
        [N, C, H, W] float32 channels_last.

    Raises:
        ValueError: another number of dimensions, dtype, device or layout.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.avg_pool3x3_input_gradient(grad)
    return result


def _fake_pooling(images: Tensor) -> Tensor:
    return torch.empty_like(images, memory_format=torch.channels_last)


load = registration.loader(
    {
        "vkdnw::avg_pool3x3": _fake_pooling,
        "vkdnw::avg_pool3x3_input_gradient": _fake_pooling,
    }
)
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
