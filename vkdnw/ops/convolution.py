"""Convolutions on the CPU and their data gradients, with the backward of a ReLU in front.

:func:`conv_input_gradient` has a kernel for each of three kinds of convolution. Each kernel takes
the weight in a form of its own, which :func:`packed_weight` makes once for many gradients::

    packed = packed_weight(Layer.CONV3X3, conv.weight)
    grad_x = conv_input_gradient(Layer.CONV3X3, grad_output, packed, mask, (H, W), 1, 1)

Winograd's F(4x4, 3x3) takes a quarter of the multiplications of the direct algorithm and has
slightly larger rounding errors. In a backward pass the errors do not grow: the pass is linear, and
no ReLU changes its branch because of them. The compiled library is loaded on the first call. The
ops have no derivatives.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; the
interpolation points are chosen for accuracy (csrc/kernels/conv/winograd3x3_transforms.h).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vkdnw.ops import registration
from vkdnw.ops.backpropagate import Layer

CHANNEL_MULTIPLE = 16
"""Input and output channels must be multiples of this."""

_POSITIONS = 36
_ALIGNMENT = 16  # bytes that a GPU loads at once


def winograd_weights(weight: Tensor) -> Tensor:
    """The weights of a 3x3 convolution as the gradient of ``Layer.CONV3X3`` takes them.

    Args:
        weight: [Co, Ci, 3, 3] float32 on the CPU, any strides; Co and Ci multiples of 16.

    Returns:
        [36, Ci, Co] float32: four times the size of the weights. The order of the elements
        differs between builds.

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
        [36, Co, Ci] float32, in an order that differs between builds.

    Raises:
        ValueError: another size, dtype or device.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    transformed: Tensor = torch.ops.vkdnw.winograd_forward_weights(weight)
    return transformed


def conv3x3(x: Tensor, transformed: Tensor, rectify: bool = False) -> tuple[Tensor, Tensor]:
    """A 3x3 convolution of stride 1, padding 1 (zeros), dilation 1, one group and no bias.

    Rounds as :func:`conv_input_gradient` does: a ReLU behind it may see another sign where the
    direct algorithm is within a few roundings of zero.

    Args:
        x: [N, Ci, H, W] float32 channels_last, N at least 1.
        transformed: :func:`winograd_forward_weights` of the weight.
        rectify: whether the convolution is of torch.relu(x), which is not stored.

    Returns:
        The output, [N, Co, H, W] float32 channels_last, and its
        :func:`vkdnw.ops.batch_norm.channel_moments`, taken while it is written, [2, Co] float64.

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
    of threads, nor on other samples of the batch. Arguments, results and errors as of
    :func:`conv3x3`, with the weight [Co, Ci, 1, 1] as it is, float32 on the CPU with any strides;
    Co and Ci multiples of 16.
    """
    load()
    result, moments = torch.ops.vkdnw.conv1x1(x, weight, rectify)
    return result, moments


def conv_input_gradient(
    layer: Layer,
    grad: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    size: Sequence[int],
    stride: int,
    padding: int,
) -> Tensor:
    """Gradient with respect to the input of a convolution, and of a ReLU in front of it.

    The convolution has one group, dilation 1, and the same stride and padding (zeros) on both axes:

    ========================  =============================  ====================================
    layer                     convolution                    weight, see :func:`packed_weight`
    ========================  =============================  ====================================
    ``Layer.CONV3X3``         3x3, stride 1, padding 1       :func:`winograd_weights`
    ``Layer.CONV1X1``         1x1, stride 1, padding 0       [Co, Ci, 1, 1] contiguous
    ``Layer.STRIDED_CONV``    any kernel, stride, padding    [Kh, Kw, Co, Ci] contiguous
    ========================  =============================  ====================================

    Where the mask is clear, the result is 0. A NaN or an infinity in `grad` makes the gradient of
    every pixel that depends on it NaN or infinite; with CONV3X3 it may also do so for other pixels
    of the same 4x4 tile.

    Sums are taken in float32. With CONV3X3 the largest error is about 2e-6 of the largest element
    for up to 64 channels of normally distributed values, twice that of the direct algorithm. The
    bits of the result do not depend on the number of threads, nor on the other samples of the
    batch. CONV1X1 is no faster than torch from 256 channels on. Working memory: half a megabyte a
    thread.

    Args:
        layer: the kind of convolution.
        grad: [N, Co, Ho, Wo] float32 channels_last, gradient of the convolution's output.
        weight: float32, Co and Ci multiples of 16.
        mask: [M, H, W, Ci / 8] uint8 contiguous, from :func:`vkdnw.ops.relu.rectify` of the ReLU's
            input. N is a multiple of M; sample n has mask n % M. None for no ReLU.
        size: (H, W) of the input.
        stride: at least 1.
        padding: at least 0.

    Returns:
        [N, Ci, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.conv_input_gradient(
        grad, weight, mask, int(layer), size[0], size[1], stride, padding
    )
    return result


def packed_weight(layer: Layer, weight: Tensor) -> Tensor:
    """The weight of a convolution in the form that its kernel takes.

    Args:
        layer: CONV3X3, CONV1X1, STRIDED_CONV or DEPTHWISE_CONV.
        weight: [Co, Ci / groups, Kh, Kw] float32, on any device.

    Returns:
        float32 contiguous: for CONV3X3 :func:`winograd_weights` on the CPU, elsewhere
        [Co, 3, 3, Ci]; the weight itself for CONV1X1, [Kh, Kw, Co, Ci] for STRIDED_CONV, and
        [Kh, Kw, C] for DEPTHWISE_CONV. Off the CPU it begins at a multiple of 16 bytes.
    """
    if weight.device.type == "cpu":
        return _PACKED[layer](weight)
    packed = (
        weight.permute(0, 2, 3, 1).contiguous()
        if layer == Layer.CONV3X3
        else _PACKED[layer](weight)
    )
    return packed if packed.data_ptr() % _ALIGNMENT == 0 else packed.clone()


_PACKED: dict[Layer, Callable[[Tensor], Tensor]] = {
    Layer.CONV3X3: winograd_weights,
    Layer.CONV1X1: lambda weight: weight.contiguous(),
    Layer.STRIDED_CONV: lambda weight: weight.permute(2, 3, 0, 1).contiguous(),
    Layer.DEPTHWISE_CONV: lambda weight: weight[:, 0].permute(1, 2, 0).contiguous(),
}


def _fake_conv3x3(x: Tensor, transformed: Tensor, rectify: bool) -> tuple[Tensor, Tensor]:
    return _fake_convolution(x, transformed.shape[1])


def _fake_conv1x1(x: Tensor, weight: Tensor, rectify: bool) -> tuple[Tensor, Tensor]:
    return _fake_convolution(x, weight.shape[0])


def _fake_convolution(x: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    moments = x.new_empty((2, channels), dtype=torch.float64)
    return registration.channels_last(x, channels, *x.shape[2:]), moments


def _fake_weights(weight: Tensor) -> Tensor:
    return weight.new_empty((_POSITIONS, weight.shape[1], weight.shape[0]))


def _fake_forward_weights(weight: Tensor) -> Tensor:
    return weight.new_empty((_POSITIONS, weight.shape[0], weight.shape[1]))


def _fake_input_gradient(
    grad: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    layer: int,
    height: int,
    width: int,
    stride: int,
    padding: int,
) -> Tensor:
    channels = weight.shape[3 if layer == Layer.STRIDED_CONV else 1]
    return registration.channels_last(grad, channels, height, width)


load = registration.loader(
    {
        "vkdnw::conv3x3": _fake_conv3x3,
        "vkdnw::conv1x1": _fake_conv1x1,
        "vkdnw::winograd_weights": _fake_weights,
        "vkdnw::winograd_forward_weights": _fake_forward_weights,
        "vkdnw::conv_input_gradient": _fake_input_gradient,
    }
)
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
