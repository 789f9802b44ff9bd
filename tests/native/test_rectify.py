"""rectify against torch.relu and its backward, threshold_backward, to the bit; refusals by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.native.relu_masks import packed
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.relu import load, rectify, relu_mask

KINDS = torch.tensor([0.0, -0.0, -1.0, -torch.inf, 1e-45, -1e-45, torch.inf, torch.nan, -torch.nan])


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def normal_image(*shape: int, seed: int = 0) -> Tensor:
    return nhwc(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def every_kind(samples: int, channels: int, height: int, width: int) -> Tensor:
    """Each kind of number at each position within a vector: their counts have no common factor."""
    count = samples * channels * height * width
    numbers = KINDS.repeat(count // len(KINDS) + 1)[:count]
    return numbers.view(samples, height, width, channels).permute(0, 3, 1, 2)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize("image", [normal_image, every_kind])
@pytest.mark.parametrize(
    "shape", [(1, 16, 1, 1), (3, 16, 3, 3), (2, 48, 5, 7), (2, 80, 1, 9), (16, 16, 32, 32)]
)
def test_equals_torch(image: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    x = image(*shape)
    relu, mask = rectify(x)
    assert same_bits(relu, torch.relu(x))
    assert torch.equal(mask, packed(relu))
    assert relu.is_contiguous(memory_format=torch.channels_last)
    assert mask.is_contiguous()


@pytest.mark.parametrize("image", [normal_image, every_kind])
def test_the_mask_alone_is_the_same(image: Callable[..., Tensor]) -> None:
    for shape in ((1, 16, 1, 1), (2, 48, 5, 7), (16, 16, 32, 32)):
        x = image(*shape)
        assert torch.equal(relu_mask(x), rectify(x)[1])
    torch.library.opcheck(torch.ops.vkdnw.relu_mask, (x,))


@pytest.mark.parametrize("image", [normal_image, every_kind])
def test_bits_are_where_threshold_backward_lets_pass(image: Callable[..., Tensor]) -> None:
    x = image(2, 32, 5, 6)
    passes = torch.ops.aten.threshold_backward(torch.ones_like(x), torch.relu(x), 0)
    _, mask = rectify(x)
    bits = mask.repeat_interleave(8, dim=-1) >> (torch.arange(32) % 8) & 1  # [M, H, W, C]
    assert torch.equal(bits.permute(0, 3, 1, 2).float(), passes)


def test_leaves_its_argument_alone() -> None:
    x = every_kind(2, 16, 4, 5)
    before = x.clone()
    rectify(x)
    assert same_bits(x, before)


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (2, 0, 4, 4), (2, 16, 0, 4)])
def test_nothing_to_do(shape: tuple[int, ...]) -> None:
    samples, channels, height, width = shape
    relu, mask = rectify(normal_image(*shape))
    assert relu.shape == shape
    assert mask.shape == (samples, height, width, channels // 8)


def test_two_threads_do_as_one() -> None:
    """The size is large enough for both threads to get work."""
    x = normal_image(9, 48, 29, 31)
    one, two = on_one_and_two_threads(lambda: rectify(x))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_opcheck() -> None:
    load()
    torch.library.opcheck(torch.ops.vkdnw.rectify, (normal_image(2, 32, 5, 6),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[0], r"x has 3 dimensions, not 4: \[M, C, H, W\]"),
        (lambda x: x.contiguous(), r"x is not channels_last; call x\.contiguous"),
        (lambda x: x.double(), "x is Double, not float32; convert it, or use torch.relu"),
        (lambda x: nhwc(x[:, :24]), "x has 24 channels.* multiple of 16.* torch.relu"),
    ],
)
def test_refuses_by_name_with_the_remedy(change: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rectify(change(normal_image(2, 32, 5, 6)))
