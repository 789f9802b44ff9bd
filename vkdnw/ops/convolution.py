"""Convolutions on the CPU and their data gradients, a ReLU in front included.

The forward of the ReLU keeps one bit of each number, which is all that its backward needs::

    relu, mask = rectify(x)
    output = conv(relu)

3x3 convolutions take two steps, so that weights are transformed once and used for many gradients::

    transformed = winograd_weights(conv.weight)
    grad_x = conv3x3_input_gradient(grad_output, transformed, mask)

1x1 convolutions take one::

    grad_x = conv1x1_input_gradient(grad_output, conv.weight, mask)

:func:`strided_conv_input_gradient` takes any kernel and stride, by the direct algorithm.

Winograd's F(4x4, 3x3) multiplies four times less than the direct algorithm and rounds a little
more. In a backward pass that is harmless: it is linear, and no ReLU decides anything by the sign of
what is computed here. The compiled library is loaded on the first call. The ops have no
derivatives.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; the
interpolation points are chosen for accuracy (csrc/kernels/conv/winograd3x3_transforms.h).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.ops import fake_kernels

CHANNEL_MULTIPLE = 16
"""Input and output channels must be multiples of this."""

_POSITIONS = 36


def rectify(x: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU, and a mask of where its gradient passes, in one pass over memory.

    The first result equals torch.relu(x) to the bit: -0.0 and NaN stay what they are. The gradient
    passes where it is not <= 0, hence also where it is NaN: as torch's threshold_backward has it.

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
    """The mask of :func:`rectify` alone, from what a ReLU returned or, alike, from what it read.

    Args:
        relu: [M, C, H, W] float32 channels_last.

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


def winograd_weights(weight: Tensor) -> Tensor:
    """The weights of a 3x3 convolution as :func:`conv3x3_input_gradient` needs them.

    Args:
        weight: [Co, Ci, 3, 3] float32 on the CPU, any strides; Co and Ci multiples of 16.

    Returns:
        [36, Ci, Co] float32: four times the size of the weights. The order of the numbers in it is
        the library's own and differs between builds.

    Raises:
        ValueError: another size, dtype or device.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    transformed: Tensor = torch.ops.vkdnw.winograd_weights(weight)
    return transformed


def winograd_forward_weights(weight: Tensor) -> Tensor:
    """The weights of a 3x3 convolution as :func:`conv3x3` needs them.

    Args:
        weight: [Co, Ci, 3, 3] float32 on the CPU, any strides; Co and Ci multiples of 16.

    Returns:
        [36, Co, Ci] float32, in an order of the library's own.

    Raises:
        ValueError: another size, dtype or device.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    transformed: Tensor = torch.ops.vkdnw.winograd_forward_weights(weight)
    return transformed


def conv3x3(x: Tensor, transformed: Tensor, rectify: bool = False) -> tuple[Tensor, Tensor]:
    """A 3x3 convolution of stride 1, padding 1 (zeros), dilation 1, one group and no bias.

    Rounds as :func:`conv3x3_input_gradient` does: a ReLU behind it may see another sign where the
    direct algorithm is within a few roundings of zero.

    Args:
        x: [N, Ci, H, W] float32 channels_last, N at least 1.
        transformed: :func:`winograd_forward_weights` of the weight.
        rectify: whether the convolution is of torch.relu(x), which is not written down.

    Returns:
        The output, [N, Co, H, W] float32 channels_last, and its
        :func:`vkdnw.ops.batch_norm.channel_moments`, taken on the way, [2, Co] float64.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result, moments = torch.ops.vkdnw.conv3x3(x, transformed, rectify)
    return result, moments


def conv1x1(x: Tensor, weight: Tensor, rectify: bool = False) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution of stride 1, no padding, one group and no bias.

    Sums are taken in float32 over Ci upwards. The bits of the output do not depend on the number
    of threads, nor on what else is in the batch. Arguments, results and errors as of
    :func:`conv3x3`, with the weight [Co, Ci, 1, 1] as it is, float32 on the CPU with any strides;
    Co and Ci multiples of 16.
    """
    load()
    result, moments = torch.ops.vkdnw.conv1x1(x, weight, rectify)
    return result, moments


def conv3x3_input_gradient(grad: Tensor, transformed: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gradient with respect to the input of a 3x3 convolution, and of the ReLU in front of it.

    The convolution has stride 1, padding 1 (zeros), dilation 1 and one group. Where the mask is
    clear, the result is 0. A NaN or an infinity in `grad` makes the gradient of every pixel that it
    reaches NaN or infinite, and may do so for other pixels of the same 4x4 tile.

    The largest error is about 2e-6 of the largest element for up to 64 channels of normally
    distributed numbers, twice that of the direct algorithm in float32. The bits of the result do
    not depend on the number of threads, nor on what else is in the batch. Working memory: half
    a megabyte a thread.

    Args:
        grad: [N, Co, H, W] float32 channels_last, gradient of the convolution's output.
        transformed: :func:`winograd_weights` of the convolution's weight.
        mask: [M, H, W, Ci / 8] uint8 contiguous, from :func:`rectify` of the ReLU's input. N is a
            multiple of M; sample n has mask n % M. None for no ReLU.

    Returns:
        [N, Ci, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.conv3x3_input_gradient(grad, transformed, mask)
    return result


def conv1x1_input_gradient(grad: Tensor, weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gradient with respect to the input of a 1x1 convolution, and of the ReLU in front of it.

    The convolution has stride 1, no padding and one group. Where the mask is clear, the result is
    0. A NaN or an infinity in `grad` reaches its own pixel only.

    Sums are taken in float32 over Co upwards. The bits of the result do not depend on the number
    of threads, nor on what else is in the batch. The kernel is made for few channels: with 256 it
    is no faster than torch.

    Args:
        grad: [N, Co, H, W] float32 channels_last, gradient of the convolution's output.
        weight: [Co, Ci, 1, 1] float32 on the CPU, any strides; Co and Ci multiples of 16.
        mask: [M, H, W, Ci / 8] uint8 contiguous, from :func:`rectify` of the ReLU's input. N is a
            multiple of M; sample n has mask n % M. None for no ReLU.

    Returns:
        [N, Ci, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.conv1x1_input_gradient(grad, weight, mask)
    return result


def strided_conv_input_gradient(
    grad: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    size: Sequence[int],
    stride: int,
    padding: int,
) -> Tensor:
    """Gradient with respect to the input of a convolution with a stride, and of the ReLU before it.

    The convolution has one group and no dilation, and stride and padding (zeros) of both axes are
    equal. Where the mask is clear, the result is 0. A NaN or an infinity in `grad` reaches the
    pixels that its output depends on only.

    Sums are taken in float32, over the kernel and Co upwards. The bits of the result do not depend
    on the number of threads, nor on what else is in the batch.

    Args:
        grad: [N, Co, Ho, Wo] float32 channels_last, gradient of the convolution's output.
        weight: [Kh, Kw, Co, Ci] float32 contiguous: `conv.weight.permute(2, 3, 0, 1)`; Co and Ci
            multiples of 16.
        mask: [M, H, W, Ci / 8] uint8 contiguous, from :func:`rectify` of the ReLU's input. N is a
            multiple of M; sample n has mask n % M. None for no ReLU.
        size: (H, W) of the input, from which the convolution makes Ho, Wo.
        stride: at least 1.
        padding: at least 0.

    Returns:
        [N, Ci, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.strided_conv_input_gradient(
        grad, weight, mask, size[0], size[1], stride, padding
    )
    return result


def _fake_rectify(x: Tensor) -> tuple[Tensor, Tensor]:
    samples, channels, height, width = x.shape
    mask = x.new_empty((samples, height, width, channels // 8), dtype=torch.uint8)
    return torch.empty_like(x, memory_format=torch.channels_last), mask


def _fake_mask(relu: Tensor) -> Tensor:
    samples, channels, height, width = relu.shape
    padded = -(-channels // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE
    return relu.new_empty((samples, height, width, padded // 8), dtype=torch.uint8)


def _fake_conv3x3(x: Tensor, transformed: Tensor, rectify: bool) -> tuple[Tensor, Tensor]:
    return _fake_convolution(x, transformed.shape[1])


def _fake_conv1x1(x: Tensor, weight: Tensor, rectify: bool) -> tuple[Tensor, Tensor]:
    return _fake_convolution(x, weight.shape[0])


def _fake_convolution(x: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    moments = x.new_empty((2, channels), dtype=torch.float64)
    return fake_kernels.channels_last(x, channels, *x.shape[2:]), moments


def _fake_weights(weight: Tensor) -> Tensor:
    return weight.new_empty((_POSITIONS, weight.shape[1], weight.shape[0]))


def _fake_forward_weights(weight: Tensor) -> Tensor:
    return weight.new_empty((_POSITIONS, weight.shape[0], weight.shape[1]))


def _fake_3x3_gradient(grad: Tensor, transformed: Tensor, mask: Tensor | None) -> Tensor:
    return fake_kernels.channels_last(grad, transformed.shape[1], *grad.shape[2:])


def _fake_1x1_gradient(grad: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    return fake_kernels.channels_last(grad, weight.shape[1], *grad.shape[2:])


def _fake_strided_gradient(
    grad: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    height: int,
    width: int,
    stride: int,
    padding: int,
) -> Tensor:
    return fake_kernels.channels_last(grad, weight.shape[3], height, width)


load = fake_kernels.loader(
    {
        "vkdnw::rectify": _fake_rectify,
        "vkdnw::relu_mask": _fake_mask,
        "vkdnw::conv3x3": _fake_conv3x3,
        "vkdnw::conv1x1": _fake_conv1x1,
        "vkdnw::winograd_weights": _fake_weights,
        "vkdnw::winograd_forward_weights": _fake_forward_weights,
        "vkdnw::conv3x3_input_gradient": _fake_3x3_gradient,
        "vkdnw::conv1x1_input_gradient": _fake_1x1_gradient,
        "vkdnw::strided_conv_input_gradient": _fake_strided_gradient,
    }
)
"""Loads the library. The functions call it; code that is compiled with `fullgraph=True`, or that
calls `torch.ops.vkdnw` itself, calls it once before."""
