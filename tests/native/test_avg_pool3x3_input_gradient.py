"""vkdnw.ops.pooling against automatic differentiation in float64; refusals by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.pooling import avg_pool3x3, avg_pool3x3_input_gradient, load

ROUNDINGS = 8
"""Of each of the nine terms: two factors, two products and four additions."""


def normal_image(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng).contiguous(memory_format=torch.channels_last)


def by_autograd(grad: Tensor) -> Tensor:
    x = torch.zeros_like(grad, dtype=torch.float64, requires_grad=True)
    y = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    return torch.autograd.grad(y, x, grad.double())[0]


@pytest.mark.parametrize("channels", [1, 3, 16, 20, 32, 64, 67])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 7), (6, 1), (5, 8), (32, 32)]
)
def test_agrees_with_float64(size: tuple[int, int], channels: int) -> None:
    grad = normal_image(3, channels, *size)
    error = (avg_pool3x3_input_gradient(grad).double() - by_autograd(grad)).abs()
    unit = ROUNDINGS * torch.finfo(torch.float32).eps / 2
    bound = unit / (1 - unit) * by_autograd(grad.abs())
    assert (error <= bound).all(), (error / bound).max()


@pytest.mark.parametrize("channels", [1, 16, 20, 67])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (3, 3), (6, 1), (5, 8), (32, 32)])
def test_pooling_itself_agrees_with_float64(size: tuple[int, int], channels: int) -> None:
    x = normal_image(3, channels, *size)
    expected = F.avg_pool2d(x.double(), 3, stride=1, padding=1, count_include_pad=False)
    magnitudes = F.avg_pool2d(x.double().abs(), 3, stride=1, padding=1, count_include_pad=False)
    unit = ROUNDINGS * torch.finfo(torch.float32).eps / 2
    assert ((avg_pool3x3(x) - expected).abs() <= unit / (1 - unit) * magnitudes).all()


def test_pooling_itself_takes_what_its_gradient_takes() -> None:
    load()
    torch.library.opcheck(torch.ops.vkdnw.avg_pool3x3, (normal_image(2, 16, 5, 6),))
    assert avg_pool3x3(normal_image(0, 16, 4, 4)).shape == (0, 16, 4, 4)
    with pytest.raises(ValueError, match=r"x is not channels_last; call x\.contiguous"):
        avg_pool3x3(torch.zeros(2, 16, 5, 6))


def test_result_is_channels_last() -> None:
    result = avg_pool3x3_input_gradient(normal_image(2, 16, 5, 6))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("at", [(0, 0), (3, 4), (7, 7)])
def test_non_finite_gradients_as_torch(at: tuple[int, int], value: float) -> None:
    grad = normal_image(1, 16, 8, 8)
    grad[0, 5, *at] = value
    torch.testing.assert_close(
        avg_pool3x3_input_gradient(grad), by_autograd(grad).float(), equal_nan=True
    )


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (2, 0, 4, 4), (2, 16, 0, 4)])
def test_nothing_to_do(shape: tuple[int, ...]) -> None:
    assert avg_pool3x3_input_gradient(normal_image(*shape)).shape == shape


def test_any_thread_count_and_batch_gives_the_same_bits() -> None:
    grad = normal_image(16, 16, 33, 32)
    one, two = on_one_and_two_threads(lambda: avg_pool3x3_input_gradient(grad))
    assert torch.equal(one, two)
    assert torch.equal(one[3:4], avg_pool3x3_input_gradient(grad[3:4]))


def test_opcheck() -> None:
    load()
    op = torch.ops.vkdnw.avg_pool3x3_input_gradient
    torch.library.opcheck(op, (normal_image(2, 17, 5, 6),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g[0], r"grad has 3 dimensions, not 4: \[N, C, H, W\]"),
        (lambda g: g.contiguous(), r"grad is not channels_last; call grad\.contiguous"),
        (lambda g: g.double(), "grad is Double, not float32; .*avg_pool2d_backward"),
    ],
)
def test_refuses_by_name_with_the_remedy(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        avg_pool3x3_input_gradient(change(normal_image(2, 16, 5, 6)))
