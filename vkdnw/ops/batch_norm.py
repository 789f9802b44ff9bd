"""BatchNorm with the batch's own statistics on the CPU, and its gradients.

The forward and the backward each take two steps: sums over all pixels, and a function of each
pixel. A convolution takes the forward's sums while it writes its output, and a sum of feature maps
applies the forward's function while it reads::

    conv_x, moments = conv3x3(x, transformed)
    statistics, factors = batch_norm_factors(moments, eps, weight, bias)
    y, mask = normalised_sum([Summand(residual), Summand(conv_x, factors)])
    coefficients, of_parameters = batch_norm_coefficients(grad_y, conv_x, statistics, weight)
    grad_conv_x = batch_norm_input_gradient(grad_y, conv_x, coefficients)

Sums are float64, everything else is float32. The bits of a result do not depend on the number of
threads. The compiled library is loaded on the first call. The ops have no derivatives.

Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vkdnw.ops import registration

_NO_FACTORS = torch.empty(0, device="cpu")
"""Stands for the factors of a summand that is not normalised."""


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
    """The factors of ``weight * (x - mean) / sqrt(variance + eps) + bias``.

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
    """A feature map of a sum, and the operation on it before it is added."""

    x: Tensor  # [B, C, H, W] float32 channels_last, C a multiple of 16
    factors: Tensor | None = None  # batch_norm_factors, to normalise it
    pooled: bool = False  # by vkdnw.ops.pooling.avg_pool3x3; not together with factors


def normalised_sum(summands: Sequence[Summand]) -> tuple[Tensor, Tensor]:
    """A sum of feature maps from left to right; each may be normalised or pooled first.

    It rounds as if each normalised or pooled map had been stored first.

    Args:
        summands: at least one; their maps are of one size.

    Returns:
        The sum, [B, C, H, W] float32 channels_last, and its
        :func:`vkdnw.ops.relu.relu_mask`, [B, H, W, C / 8] uint8.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    if not summands:  # no tensor, no device to dispatch by
        raise ValueError("summands is empty; there is at least one map to add")
    load()
    total, mask = torch.ops.vkdnw.normalised_sum(
        [summand.x for summand in summands],
        [_NO_FACTORS if summand.factors is None else summand.factors for summand in summands],
        [place for place, summand in enumerate(summands) if summand.pooled],
    )
    return total, mask


def batch_norm_coefficients(
    grad: Tensor, x: Tensor, statistics: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Coefficients of the input gradient of BatchNorm, which is linear in its output gradient.

        gradient of x = scale * grad + (slope * (x - mean) + shift)

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of the output.
        x: the input, alike.
        statistics: :func:`batch_norm_statistics` of the input.
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
    """Gradient with respect to the input of BatchNorm, [B, C, H, W] float32 channels_last.

    Args:
        grad: [B, C, H, W] float32 channels_last, gradient of the output.
        x: the input, alike.
        coefficients: :func:`batch_norm_coefficients` of both.

    Raises:
        ValueError: sizes, dtypes, devices or layouts that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.batch_norm_input_gradient(grad, x, coefficients)
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
    return registration.channels_last(maps[0], *maps[0].shape[1:]), mask


def _fake_coefficients(
    grad: Tensor, x: Tensor, statistics: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    return x.new_empty((4, x.shape[1])), torch.empty_like(statistics)


def _fake_gradient(grad: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    return registration.channels_last(x, *x.shape[1:])


load = registration.loader(
    {
        "vkdnw::channel_moments": _fake_moments,
        "vkdnw::batch_norm_factors": _fake_factors,
        "vkdnw::normalised_sum": _fake_sum,
        "vkdnw::batch_norm_coefficients": _fake_coefficients,
        "vkdnw::batch_norm_input_gradient": _fake_gradient,
    }
)
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
