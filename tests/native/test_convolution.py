"""conv3x3 and conv1x1 against float64: with and without a ReLU in front; refusals by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.batch_norm import channel_moments
from vkdnw.ops.convolution import (
    conv1x1,
    conv3x3,
    conv_input_gradient,
    load,
    winograd_forward_weights,
    winograd_weights,
)

Native = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]
"""From an image, a weight as torch has it and whether to rectify to the output and its moments."""

ACCURACY = 4e-6
"""Of the largest element: twice the bound of conv_input_gradient for up to 64 channels."""
SHAPES = [(2, 16, 32, 1, 1), (3, 32, 16, 5, 7), (2, 48, 64, 9, 4), (7, 16, 16, 32, 32)]


def native_3x3(x: Tensor, weight: Tensor, rectify: bool) -> tuple[Tensor, Tensor]:
    return conv3x3(x, winograd_forward_weights(weight), rectify)


each_kernel = pytest.mark.parametrize(("kernel", "native"), [(3, native_3x3), (1, conv1x1)])
each_shape = pytest.mark.parametrize("shape", SHAPES)


def example(shape: tuple[int, ...], kernel: int = 3) -> tuple[Tensor, Tensor]:
    """An image and a weight; seven images of 32 x 32 pixels take more than one piece."""
    samples, channels, out, height, width = shape
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(samples, channels, height, width, generator=rng)
    weight = torch.randn(out, channels, kernel, kernel, generator=rng)
    return x.contiguous(memory_format=torch.channels_last), weight


@each_kernel
@each_shape
@pytest.mark.parametrize("rectify", [False, True])
def test_agrees_with_float64(
    shape: tuple[int, ...], rectify: bool, kernel: int, native: Native
) -> None:
    x, weight = example(shape, kernel)
    read = x.double().relu() if rectify else x.double()
    expected = F.conv2d(read, weight.double(), padding=kernel // 2)
    found, _ = native(x, weight, rectify)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= ACCURACY * expected.abs().max()


@each_kernel
@each_shape
def test_rectifies_as_torch_to_the_bit(shape: tuple[int, ...], kernel: int, native: Native) -> None:
    x, weight = example(shape, kernel)
    x[0, ::3] = -0.0
    for found, expected in zip(
        native(x, weight, True), native(x.relu(), weight, False), strict=True
    ):
        assert torch.equal(found, expected)


@each_kernel
@each_shape
def test_moments_are_those_of_the_output_to_the_bit(
    shape: tuple[int, ...], kernel: int, native: Native
) -> None:
    found, moments = native(*example(shape, kernel), False)
    assert torch.equal(moments, channel_moments(found))


@each_kernel
def test_a_nan_passes_the_relu(kernel: int, native: Native) -> None:
    x, weight = example((1, 16, 16, 6, 6), kernel)
    x[0, 3, 2, 2] = torch.nan
    found, moments = native(x, weight, True)
    reach = slice(2 - kernel // 2, 3 + kernel // 2)
    assert found[0, :, reach, reach].isnan().all()
    assert moments.isnan().all()


@each_kernel
def test_any_thread_count_gives_the_same_bits(kernel: int, native: Native) -> None:
    x, weight = example(SHAPES[-1], kernel)
    one, two = on_one_and_two_threads(lambda: native(x, weight, True))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)


def test_any_strides_of_a_weight() -> None:
    x, weight = example((2, 32, 16, 4, 5), kernel=1)
    turned = weight.flatten(1).T.contiguous().T[:, :, None, None]
    assert torch.equal(conv1x1(x, weight)[0], conv1x1(x, turned)[0])


def test_is_the_gradient_of_the_convolution_turned_round() -> None:
    x, weight = example((3, 32, 16, 5, 7))
    turned = winograd_weights(weight.flip(2, 3).transpose(0, 1))
    found, _ = conv3x3(x, winograd_forward_weights(weight))
    gradient = conv_input_gradient(Layer.CONV3X3, x, turned, None, (5, 7), 1, 1)
    assert torch.equal(found, gradient)


def test_opcheck() -> None:
    load()
    x, weight = example((2, 16, 32, 4, 5))
    torch.library.opcheck(torch.ops.vkdnw.winograd_forward_weights, (weight,))
    transformed = winograd_forward_weights(weight)
    torch.library.opcheck(torch.ops.vkdnw.conv3x3, (x, transformed, True))
    torch.library.opcheck(torch.ops.vkdnw.conv1x1, (x, weight[:, :, :1, :1], True))


def test_refuses_by_name_with_the_remedy() -> None:
    x, weight = example((2, 16, 32, 4, 5))
    transformed = winograd_forward_weights(weight)
    with pytest.raises(ValueError, match="x is not channels_last"):
        conv3x3(x.contiguous(), transformed)
    with pytest.raises(ValueError, match="x has 16 channels and transformed is for 32; pass wino"):
        conv3x3(x, winograd_weights(weight))
    with pytest.raises(ValueError, match="transformed is not what winograd_weights returns"):
        conv3x3(x, transformed[:30])
    with pytest.raises(ValueError, match="x has 2 images of 0 x 5 pixels"):
        conv3x3(x[:, :, :0], transformed)
    with pytest.raises(ValueError, match="x has 0 images of 4 x 5 pixels"):
        conv1x1(x[:0], weight[:, :, :1, :1])
    with pytest.raises(ValueError, match="weight has kernel size 3 x 3, not 1 x 1"):
        conv1x1(x, weight)
    with pytest.raises(ValueError, match="x has 16 channels and weight 32 input channels; pass"):
        conv1x1(x, weight[:, :, :1, :1].transpose(0, 1))
