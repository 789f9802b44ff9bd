"""BatchNorm with the batch's own statistics on the CPU, its data gradient, and that of the
convolution in front of it.

Like the forward, the backward takes two steps: sums over all pixels, and
what they make of each. The backward's second is applied on the way into a convolution's gradient::

    statistics = batch_norm_statistics(conv_x, eps)
    y = batch_norm(conv_x, statistics, weight, bias)
    coefficients, of_parameters = batch_norm_coefficients(grad_y, conv_x, statistics, weight)
    grad_x = norm_conv3x3_input_gradient(grad_y, conv_x, coefficients, transformed, mask)

Sums are float64, everything else is float32. The bits of a result depend neither on the number of
threads nor on whether the gradient of the convolution's output is written down on the way. The
compiled library is loaded on the first call. The ops have no derivatives.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw import fake_kernels


def batch_norm_statistics(x: Tensor, eps: float) -> Tensor:
    """Mean and 1 / sqrt(variance + eps) of each channel; variances divide by n.

    Args:
        x: [B, C, H, W] float32 channels_last, C a multiple of 16, with at least two numbers in a
            channel.
        eps: added to the variance.

    Returns:
        [2, C] float64.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    statistics: Tensor = torch.ops.vkdnw.batch_norm_statistics(x, eps)
    return statistics


def batch_norm(
    x: Tensor,
    statistics: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    base: Tensor | None = None,
) -> Tensor:
    """``weight * (x - mean) / sqrt(variance + eps) + bias``, by channel, added to a base if given.

    The sum rounds as if the normalised map had been written down first, or once less.

    Args:
        x: [B, C, H, W] float32 channels_last, C a multiple of 16.
        statistics: :func:`batch_norm_statistics` of it.
        weight: [C] float32 contiguous; None for ones.
        bias: [C] float32 contiguous; None for zeros.
        base: as x; None for zeros.

    Returns:
        [B, C, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.batch_norm(x, statistics, weight, bias, base)
    return result


def batch_norm_coefficients(
    grad: Tensor, x: Tensor, statistics: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The numbers that make the gradient of ``x`` of the gradient of what it became.

        gradient of x = scale * grad + (slope * (x - mean) + shift)

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of the result of :func:`batch_norm`.
        x: what that was called with.
        statistics: :func:`batch_norm_statistics` of it.
        weight: what it was called with.

    Returns:
        The coefficients, [4, C] float32: scale, slope, mean and shift, and the gradients of weight
        and bias, [2, C] float64.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    coefficients, of_parameters = torch.ops.vkdnw.batch_norm_coefficients(
        grad, x, statistics, weight
    )
    return coefficients, of_parameters


def batch_norm_input_gradient(grad: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    """Gradient with respect to ``x`` of :func:`batch_norm`, [B, C, H, W] float32 channels_last.

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of the result.
        x: what was normalised.
        coefficients: :func:`batch_norm_coefficients` of both.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.batch_norm_input_gradient(grad, x, coefficients)
    return result


def norm_conv3x3_input_gradient(
    grad: Tensor, x: Tensor, coefficients: Tensor, transformed: Tensor, mask: Tensor | None = None
) -> Tensor:
    """:func:`vkdnw.convolution.conv3x3_input_gradient` of :func:`batch_norm_input_gradient`.

    To the bit, and without the gradient in between, of which a few samples are in a core's cache.

    Args:
        grad: [B, Co, H, W] float32 channels_last, gradient of what BatchNorm returned.
        x: [B, Co, H, W] float32 channels_last, what it read: the convolution's output.
        coefficients: :func:`batch_norm_coefficients` of both.
        transformed: :func:`vkdnw.convolution.winograd_weights` of the convolution's weight.
        mask: of the ReLU in front of the convolution, as there.

    Returns:
        [B, Ci, H, W] float32 channels_last.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.norm_conv3x3_input_gradient(
        grad, x, coefficients, transformed, mask
    )
    return result


def norm_conv1x1_input_gradient(
    grad: Tensor, x: Tensor, coefficients: Tensor, weight: Tensor, mask: Tensor | None = None
) -> Tensor:
    """:func:`vkdnw.convolution.conv1x1_input_gradient` of :func:`batch_norm_input_gradient`.

    Arguments, result and errors as of :func:`norm_conv3x3_input_gradient`, with the weight
    [Co, Ci, 1, 1] as it is.
    """
    load()
    result: Tensor = torch.ops.vkdnw.norm_conv1x1_input_gradient(
        grad, x, coefficients, weight, mask
    )
    return result


def norm_strided_conv_input_gradient(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    size: Sequence[int],
    stride: int,
    padding: int,
) -> Tensor:
    """:func:`vkdnw.convolution.strided_conv_input_gradient` of :func:`batch_norm_input_gradient`.

    Arguments, result and errors as of :func:`norm_conv3x3_input_gradient`, with weight, size,
    stride and padding as of the convolution's.
    """
    load()
    result: Tensor = torch.ops.vkdnw.norm_strided_conv_input_gradient(
        grad, x, coefficients, weight, mask, size[0], size[1], stride, padding
    )
    return result


def _fake_statistics(x: Tensor, eps: float) -> Tensor:
    return x.new_empty((2, x.shape[1]), dtype=torch.float64)


def _fake_batch_norm(
    x: Tensor,
    statistics: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    base: Tensor | None,
) -> Tensor:
    return fake_kernels.channels_last(x, *x.shape[1:])


def _fake_coefficients(
    grad: Tensor, x: Tensor, statistics: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    return x.new_empty((4, x.shape[1])), torch.empty_like(statistics)


def _fake_gradient(grad: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    return fake_kernels.channels_last(x, *x.shape[1:])


def _fake_3x3(
    grad: Tensor, x: Tensor, coefficients: Tensor, transformed: Tensor, mask: Tensor | None
) -> Tensor:
    return fake_kernels.channels_last(x, transformed.shape[1], *x.shape[2:])


def _fake_1x1(
    grad: Tensor, x: Tensor, coefficients: Tensor, weight: Tensor, mask: Tensor | None
) -> Tensor:
    return fake_kernels.channels_last(x, weight.shape[1], *x.shape[2:])


def _fake_strided(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    height: int,
    width: int,
    stride: int,
    padding: int,
) -> Tensor:
    return fake_kernels.channels_last(x, weight.shape[3], height, width)


load = fake_kernels.loader(
    {
        "vkdnw::batch_norm_statistics": _fake_statistics,
        "vkdnw::batch_norm": _fake_batch_norm,
        "vkdnw::batch_norm_coefficients": _fake_coefficients,
        "vkdnw::batch_norm_input_gradient": _fake_gradient,
        "vkdnw::norm_conv3x3_input_gradient": _fake_3x3,
        "vkdnw::norm_conv1x1_input_gradient": _fake_1x1,
        "vkdnw::norm_strided_conv_input_gradient": _fake_strided,
    }
)
"""Loads the library. The functions call it; code that is compiled with `fullgraph=True`, or that
calls `torch.ops.vkdnw` itself, calls it once before."""
