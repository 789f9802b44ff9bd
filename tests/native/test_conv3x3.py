"""conv3x3 against float64: with and without a ReLU in front; refusals by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vkdnw.convolution import (
    conv3x3,
    conv3x3_input_gradient,
    load,
    winograd_forward_weights,
    winograd_weights,
)

ACCURACY = 4e-6
"""Of the largest element: twice what conv3x3_input_gradient promises for up to 64 channels."""
SHAPES = [(2, 16, 32, 1, 1), (3, 32, 16, 5, 7), (2, 48, 64, 9, 4), (2, 16, 16, 32, 32)]

each_shape = pytest.mark.parametrize("shape", SHAPES)


def example(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """An image and a weight."""
    samples, channels, out, height, width = shape
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(samples, channels, height, width, generator=rng)
    weight = torch.randn(out, channels, 3, 3, generator=rng)
    return x.contiguous(memory_format=torch.channels_last), weight


@each_shape
@pytest.mark.parametrize("rectify", [False, True])
def test_agrees_with_float64(shape: tuple[int, ...], rectify: bool) -> None:
    x, weight = example(shape)
    read = x.double().relu() if rectify else x.double()
    expected = F.conv2d(read, weight.double(), padding=1)
    found = conv3x3(x, winograd_forward_weights(weight), rectify)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= ACCURACY * expected.abs().max()


@each_shape
def test_rectifies_as_torch_to_the_bit(shape: tuple[int, ...]) -> None:
    x, weight = example(shape)
    x[0, ::3] = -0.0
    transformed = winograd_forward_weights(weight)
    assert torch.equal(conv3x3(x, transformed, rectify=True), conv3x3(x.relu(), transformed))


def test_a_nan_passes_the_relu() -> None:
    x, weight = example((1, 16, 16, 6, 6))
    x[0, 3, 2, 2] = torch.nan
    found = conv3x3(x, winograd_forward_weights(weight), rectify=True)
    assert found[0, :, 1:4, 1:4].isnan().all()


def test_is_the_gradient_of_the_convolution_turned_round() -> None:
    x, weight = example((3, 32, 16, 5, 7))
    turned = winograd_weights(weight.flip(2, 3).transpose(0, 1))
    assert torch.equal(
        conv3x3(x, winograd_forward_weights(weight)), conv3x3_input_gradient(x, turned)
    )


def test_opcheck() -> None:
    load()
    x, weight = example((2, 16, 32, 4, 5))
    torch.library.opcheck(torch.ops.vkdnw.winograd_forward_weights, (weight,))
    transformed = winograd_forward_weights(weight)
    torch.library.opcheck(torch.ops.vkdnw.conv3x3, (x, transformed, True))


def test_refuses_by_name_with_the_remedy() -> None:
    x, weight = example((2, 16, 32, 4, 5))
    transformed = winograd_forward_weights(weight)
    with pytest.raises(ValueError, match="x is not channels_last"):
        conv3x3(x.contiguous(), transformed)
    with pytest.raises(ValueError, match="x has 16 channels and transformed is for 32; pass wino"):
        conv3x3(x, winograd_weights(weight))
    with pytest.raises(ValueError, match="transformed is not what winograd_weights returns"):
        conv3x3(x, transformed[:30])
    with pytest.raises(ValueError, match="x has images of 0 x 5 pixels"):
        conv3x3(x[:, :, :0], transformed)
