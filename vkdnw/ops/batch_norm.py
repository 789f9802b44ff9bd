"""BatchNorm with the batch's own statistics on the CPU, its data gradient, and that of the
convolution in front of it.

Like the forward, the backward takes two steps: sums over all pixels, and what they make of each.
The forward's first is taken on the way out of a convolution, its second on the way into a sum; the
backward's second is applied on the way into a convolution's gradient::

    conv_x, moments = conv3x3(x, transformed)
    statistics, factors = batch_norm_factors(moments, eps, weight, bias)
    y, mask = normalised_sum([Summand(residual), Summand(conv_x, factors)])
    coefficients, of_parameters = batch_norm_coefficients(grad_y, conv_x, statistics, weight)
    grad_x = norm_conv3x3_input_gradient(grad_y, conv_x, coefficients, transformed, mask)

Sums are float64, everything else is float32. The bits of a result depend neither on the number of
threads nor on whether the gradient of the convolution's output is written down on the way. The
compiled library is loaded on the first call. The ops have no derivatives.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vkdnw.ops import fake_kernels

_AS_IT_IS = torch.empty(0, device="cpu")
"""The factors of a summand that is not normalised."""


def channel_moments(x: Tensor) -> Tensor:
    """Mean and variance of each channel; variances divide by n.

    Args:
        x: [B, C, H, W] float32 channels_last, C a multiple of 16, with at least two numbers in a
            channel.

    Returns:
        [2, C] float64.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    moments: Tensor = torch.ops.vkdnw.channel_moments(x)
    return moments


def batch_norm_statistics(x: Tensor, eps: float) -> Tensor:
    """Mean and 1 / sqrt(variance + eps) of each channel, [2, C] float64.

    Argument and errors as of :func:`channel_moments`.
    """
    return batch_norm_factors(channel_moments(x), eps, None, None)[0]


def batch_norm_factors(
    moments: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The numbers that make ``weight * (x - mean) / sqrt(variance + eps) + bias`` of ``x``.

    Args:
        moments: :func:`channel_moments` of x.
        eps: added to the variance.
        weight: [C] float32 contiguous; None for ones.
        bias: [C] float32 contiguous; None for zeros.

    Returns:
        The statistics, [2, C] float64: mean and 1 / sqrt(variance + eps), and the factors, [3, C]
        float32: weight / sqrt(variance + eps), mean and bias.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    statistics, factors = torch.ops.vkdnw.batch_norm_factors(moments, eps, weight, bias)
    return statistics, factors


class Summand(NamedTuple):
    """A feature map of a sum, and what is made of it before it is added."""

    x: Tensor  # [B, C, H, W] float32 channels_last, C a multiple of 16
    factors: Tensor | None = None  # batch_norm_factors, to normalise it
    pooled: bool = False  # by vkdnw.ops.pooling.avg_pool3x3; not together with factors


def normalised_sum(summands: Sequence[Summand]) -> tuple[Tensor, Tensor]:
    """A sum of feature maps, taken from left to right, some normalised or pooled on the way.

    It rounds as if what is made of each map had been written down first.

    Args:
        summands: at least one; their maps are of one size.

    Returns:
        The sum, [B, C, H, W] float32 channels_last, and its
        :func:`vkdnw.ops.convolution.relu_mask`, [B, H, W, C / 8] uint8.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    if not summands:  # no tensor, no device to dispatch by
        raise ValueError("summands is empty; there is at least one map to add")
    load()
    total, mask = torch.ops.vkdnw.normalised_sum(
        [summand.x for summand in summands],
        [_AS_IT_IS if summand.factors is None else summand.factors for summand in summands],
        [place for place, summand in enumerate(summands) if summand.pooled],
    )
    return total, mask


def batch_norm_coefficients(
    grad: Tensor, x: Tensor, statistics: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The numbers that make the gradient of ``x`` of the gradient of what it became.

        gradient of x = scale * grad + (slope * (x - mean) + shift)

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of what BatchNorm returned.
        x: what it read.
        statistics: :func:`batch_norm_statistics` of that.
        weight: as of :func:`batch_norm_factors`.

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
    """Gradient with respect to what BatchNorm read, [B, C, H, W] float32 channels_last.

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of what it returned.
        x: what it read.
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
    """:func:`vkdnw.ops.convolution.conv3x3_input_gradient` of :func:`batch_norm_input_gradient`.

    To the bit, and without the gradient in between, of which a few samples are in a core's cache.

    Args:
        grad: [B, Co, H, W] float32 channels_last, gradient of what BatchNorm returned.
        x: [B, Co, H, W] float32 channels_last, what it read: the convolution's output.
        coefficients: :func:`batch_norm_coefficients` of both.
        transformed: :func:`vkdnw.ops.convolution.winograd_weights` of the convolution's weight.
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
    """:func:`vkdnw.ops.convolution.conv1x1_input_gradient` of :func:`batch_norm_input_gradient`.

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
    """The strided convolution's input gradient of :func:`batch_norm_input_gradient`.

    Arguments, result and errors as of :func:`norm_conv3x3_input_gradient`, with weight, size,
    stride and padding as of the convolution's.
    """
    load()
    result: Tensor = torch.ops.vkdnw.norm_strided_conv_input_gradient(
        grad, x, coefficients, weight, mask, size[0], size[1], stride, padding
    )
    return result


def _fake_moments(x: Tensor) -> Tensor:
    return x.new_empty((2, x.shape[1]), dtype=torch.float64)


def _fake_factors(
    moments: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(moments), moments.new_empty((3, moments.shape[1]), dtype=torch.float32)


def _fake_sum(
    maps: list[Tensor], factors: list[Tensor], pooled: list[int]
) -> tuple[Tensor, Tensor]:
    samples, channels, height, width = maps[0].shape
    mask = maps[0].new_empty((samples, height, width, channels // 8), dtype=torch.uint8)
    return fake_kernels.channels_last(maps[0], *maps[0].shape[1:]), mask


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
        "vkdnw::channel_moments": _fake_moments,
        "vkdnw::batch_norm_factors": _fake_factors,
        "vkdnw::normalised_sum": _fake_sum,
        "vkdnw::batch_norm_coefficients": _fake_coefficients,
        "vkdnw::batch_norm_input_gradient": _fake_gradient,
        "vkdnw::norm_conv3x3_input_gradient": _fake_3x3,
        "vkdnw::norm_conv1x1_input_gradient": _fake_1x1,
        "vkdnw::norm_strided_conv_input_gradient": _fake_strided,
    }
)
"""Loads the library. The functions call it; code that is compiled with `fullgraph=True`, or that
calls `torch.ops.vkdnw` itself, calls it once before."""
