"""Which layers and inputs the native forwards and data gradients cover."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.convolution import CHANNEL_MULTIPLE

Layout = torch.memory_format | None

MAX_PLAIN_CHANNELS = 128  # plain products are not faster where weights do not fit the level 1 cache


def are_native_images(x: Tensor) -> bool:
    """Whether these are float32 images on the CPU in channels_last."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def have_native_channels(x: Tensor) -> bool:
    """Whether these are such images, and their channels fill the kernels' vectors."""
    return are_native_images(x) and x.shape[1] % CHANNEL_MULTIPLE == 0


def data_gradient(conv: nn.Module, x: Tensor, layout: Layout) -> Layer | None:
    """The layer of a tape that computes a convolution's data gradient; None where none is faster.

    Args:
        x: an input of the convolution; its channels and size do not matter.
        layout: in which inputs are while scores are computed.
    """
    shape = _native_shape(conv, x, layout)
    if shape == (3, 1, 1):
        return Layer.CONV3X3
    if shape is None or not _is_narrow(conv):
        return None
    if shape == (1, 1, 0):
        return Layer.CONV1X1
    return Layer.STRIDED_CONV if shape[1] > 1 else None


def _native_shape(conv: nn.Module, x: Tensor, layout: Layout) -> tuple[int, int, int] | None:
    """Kernel size, stride and padding of a convolution that the native ops may cover."""
    if (
        not isinstance(conv, nn.Conv2d)
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or layout != torch.channels_last
        or conv.dilation != (1, 1)
        or conv.groups != 1
        or conv.padding_mode != "zeros"
        or conv.in_channels % CHANNEL_MULTIPLE
        or conv.out_channels % CHANNEL_MULTIPLE
    ):
        return None
    square = [conv.kernel_size, conv.stride, conv._reversed_padding_repeated_twice]
    if any(len(set(sizes)) > 1 for sizes in square):
        return None
    kernel, stride, padding = (int(sizes[0]) for sizes in square)
    return kernel, stride, padding


def _is_narrow(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    return max(conv.in_channels, conv.out_channels) <= MAX_PLAIN_CHANNELS


def is_native_pooling(pool: nn.Module) -> bool:
    """Whether this is the 3x3 average pooling of NAS-Bench-201, which has a native gradient."""
    if type(pool) is not nn.AvgPool2d:
        return False
    sizes = [
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (pool.kernel_size, pool.stride, pool.padding)
    ]
    return sizes == [(3, 3), (1, 1), (1, 1)] and not (
        pool.count_include_pad or pool.ceil_mode or pool.divisor_override
    )
