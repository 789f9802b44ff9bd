"""relu_mask against the mask that rectify returns, and against one made slowly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.native.relu_masks import packed
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.relu import load, rectify, relu_mask


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def rectified(*shape: int) -> Tensor:
    relu = torch.randn(shape, generator=torch.Generator().manual_seed(0)).relu()
    relu.view(-1)[::7] = torch.nan  # lets the gradient pass, as threshold_backward has it
    return nhwc(relu)


@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (3, 48, 5, 7), (16, 32, 32, 32)])
def test_equals_that_of_rectify(shape: tuple[int, ...]) -> None:
    relu = rectified(*shape)
    assert torch.equal(relu_mask(relu), rectify(relu)[1])


@pytest.mark.parametrize("channels", [1, 3, 8, 15, 17, 24, 40])
def test_bits_behind_the_last_channel_are_clear(channels: int) -> None:
    relu = rectified(2, channels, 3, 5)
    assert torch.equal(relu_mask(relu), packed(F.pad(relu, (0, 0, 0, 0, 0, -channels % 16))))


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (2, 0, 4, 4), (2, 16, 0, 4)])
def test_nothing_to_do(shape: tuple[int, ...]) -> None:
    samples, channels, height, width = shape
    assert relu_mask(rectified(*shape)).shape == (samples, height, width, channels // 8)


def test_two_threads_do_as_one() -> None:
    relu = rectified(9, 40, 29, 31)
    one, two = on_one_and_two_threads(lambda: relu_mask(relu))
    assert torch.equal(one, two)


def test_opcheck() -> None:
    load()
    torch.library.opcheck(torch.ops.vkdnw.relu_mask, (rectified(2, 24, 5, 6),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], r"relu has 3 dimensions, not 4: \[M, C, H, W\]"),
        (lambda x: x.contiguous(), r"relu is not channels_last; call relu\.contiguous"),
        (lambda x: x.double(), "relu is Double, not float32; convert it, or use relu > 0"),
    ],
)
def test_refuses_by_name_with_the_remedy(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relu_mask(change(rectified(2, 32, 5, 6)))
