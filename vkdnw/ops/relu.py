"""ReLU on the CPU, and the mask of its gradient, one bit for each element.

The mask is all that ReLU's backward needs. Convolutions of :mod:`vkdnw.ops.convolution` apply it to
the gradient of their input::

    relu, mask = rectify(x)
    output = conv(relu)

The compiled library is loaded on the first call. The ops have no derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import registration

_MASK_MULTIPLE = 16
"""Channels of a mask are filled up to a multiple of this."""


def rectify(x: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU, and a mask of where its gradient passes, in one pass over memory.

    The first result equals torch.relu(x) to the bit: -0.0 and NaN are kept. The gradient
    passes where x is not <= 0, hence also where x is NaN, as in torch's threshold_backward.

    Args:
        x: [M, C, H, W] float32 channels_last, C a multiple of 16.

    Returns:
        The ReLU, [M, C, H, W] float32 channels_last, and the mask, [M, H, W, C / 8] uint8
        contiguous: channel c is bit c % 8 of byte c / 8.

    Raises:
        ValueError: another size, dtype, device or layout.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    relu, mask = torch.ops.vkdnw.rectify(x)
    return relu, mask


def relu_mask(relu: Tensor) -> Tensor:
    """The mask of :func:`rectify` alone, from the output of a ReLU or from its input.

    Args:
        relu: [M, C, H, W] float32 channels_last, on the CPU or on a CUDA device.

    Returns:
        [M, H, W, D / 8] uint8 contiguous, D being C rounded up to a multiple of 16: channel c is
        bit c % 8 of byte c / 8; the bits behind the last channel are clear.

    Raises:
        ValueError: another size, dtype, device or layout.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    mask: Tensor = torch.ops.vkdnw.relu_mask(relu)
    return mask


def _fake_rectify(x: Tensor) -> tuple[Tensor, Tensor]:
    samples, channels, height, width = x.shape
    mask = x.new_empty((samples, height, width, channels // 8), dtype=torch.uint8)
    return torch.empty_like(x, memory_format=torch.channels_last), mask


def _fake_mask(relu: Tensor) -> Tensor:
    samples, channels, height, width = relu.shape
    padded = -(-channels // _MASK_MULTIPLE) * _MASK_MULTIPLE
    return relu.new_empty((samples, height, width, padded // 8), dtype=torch.uint8)


load = registration.loader({"vkdnw::rectify": _fake_rectify, "vkdnw::relu_mask": _fake_mask})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
