"""vkdnw::strided_conv_input_gradient against automatic differentiation in float64."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.relu_masks import packed
from vkdnw.ops.convolution import load, strided_conv_input_gradient

ROUNDING = 2.0**-24  # of float32


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Case:
    """Gradient of one convolution's output, its weight, and the ReLU output it was applied to."""

    grad: Tensor  # [N, Co, Ho, Wo]
    weight: Tensor  # [Co, Ci, Kh, Kw]
    relu: Tensor | None  # [M, Ci, H, W]
    size: tuple[int, int]
    stride: int
    padding: int

    def run(self) -> Tensor:
        mask = None if self.relu is None else packed(self.relu)
        taps = self.weight.permute(2, 3, 0, 1).contiguous()
        return strided_conv_input_gradient(
            self.grad, taps, mask, self.size, self.stride, self.padding
        )

    def unmasked(self) -> Tensor:
        return self._back(self.grad.double(), self.weight.double())

    def bound(self) -> Tensor:
        """The error that the roundings of each sum can add up to, with a margin of two."""
        terms = self.weight[:, 0].numel()
        return 2 * terms * ROUNDING * self._back(self.grad.double().abs(), self.weight.abs())

    def _back(self, grad: Tensor, weight: Tensor) -> Tensor:
        x = torch.zeros(len(grad), weight.shape[1], *self.size, dtype=torch.float64)
        y = F.conv2d(x.requires_grad_(), weight.double(), stride=self.stride, padding=self.padding)
        return torch.autograd.grad(y, x, grad)[0]


def make_case(
    size: tuple[int, int] = (8, 8),
    kernel: tuple[int, int] = (3, 3),
    stride: int = 2,
    padding: int = 1,
    channels: tuple[int, int] = (32, 16),
    masks: int = 0,
    repeats: int = 1,
) -> Case:
    rng = torch.Generator().manual_seed(0)
    outputs = [(n + 2 * padding - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
    samples = max(1, masks) * repeats
    grad = nhwc(torch.randn(samples, channels[0], *outputs, generator=rng))
    weight = torch.randn(*channels, *kernel, generator=rng)
    relu = nhwc(torch.randn(masks, channels[1], *size, generator=rng).relu()) if masks else None
    return Case(grad, weight, relu, size, stride, padding)


def random_case(seed: int) -> Case:
    rng = random.Random(seed)
    kernel = rng.randint(1, 5), rng.randint(1, 5)
    padding = rng.randint(0, 3)
    size = tuple(max(1, k - 2 * padding) + rng.randint(0, 9) for k in kernel)
    channels = rng.choice((16, 32, 48)), rng.choice((16, 32, 80))
    return make_case(
        (size[0], size[1]),
        kernel,
        rng.randint(1, 4),
        padding,
        channels,
        rng.randint(0, 2),
        rng.randint(1, 2),
    )


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_float64(seed: int) -> None:
    case = random_case(seed)
    expected = case.unmasked()
    if case.relu is not None:
        repeats = len(case.grad) // len(case.relu)
        expected = torch.where(case.relu.repeat(repeats, 1, 1, 1) <= 0, 0.0, expected)
    assert ((case.run().double() - expected).abs() <= case.bound()).all()


@pytest.mark.parametrize(("channels", "size"), [((32, 16), 32), ((64, 32), 16)])
def test_reductions_of_nas_bench_201(channels: tuple[int, int], size: int) -> None:
    case = make_case((size, size), channels=channels, masks=2)
    result = case.run()
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert case.relu is not None
    expected = torch.where(case.relu <= 0, 0.0, case.unmasked())
    assert ((result.double() - expected).abs() <= case.bound()).all()


def test_each_sample_has_its_mask() -> None:
    case = make_case(masks=3, repeats=2)
    assert case.relu is not None
    together = case.run()
    for n in range(6):
        alone = replace(case, grad=case.grad[n : n + 1], relu=case.relu[n % 3 : n % 3 + 1])
        assert torch.equal(together[n : n + 1], alone.run())


def test_nan_reaches_what_depends_on_it() -> None:
    case = make_case()
    case.grad[0, 5, 1, 2] = torch.nan
    reached = case.run().isnan()
    assert reached[0, :, 1:4, 3:6].all()
    assert reached.sum() == 16 * 9


def test_any_thread_count_gives_the_same_bits() -> None:
    case = make_case((15, 17), masks=3, repeats=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = case.run()
        torch.set_num_threads(2)
        two = case.run()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)


def test_no_samples() -> None:
    case = make_case()
    assert replace(case, grad=case.grad[:0]).run().shape == (0, 16, 8, 8)


@pytest.mark.parametrize("masks", [0, 2])
def test_opcheck(masks: int) -> None:
    load()
    case = make_case(masks=masks)
    mask = None if case.relu is None else packed(case.relu)
    taps = case.weight.permute(2, 3, 0, 1).contiguous()
    torch.library.opcheck(
        torch.ops.vkdnw.strided_conv_input_gradient, (case.grad, taps, mask, 8, 8, 2, 1)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, grad=c.grad[0]), "grad has 3 dimensions, not 4"),
        (lambda c: replace(c, grad=c.grad.contiguous()), "grad is not channels_last"),
        (lambda c: replace(c, grad=c.grad.double()), "grad is Double, not float32"),
        (lambda c: replace(c, grad=nhwc(c.grad[:, :16])), "grad has 16 channels and weight 32"),
        (lambda c: replace(c, weight=c.weight[:, :8]), "32 output and 8 input channels"),
        (lambda c: replace(c, weight=c.weight.double()), "weight is Double, not float32"),
        (lambda c: replace(c, size=(9, 8)), "grad has height 4, which .* does not make of 9"),
        (lambda c: replace(c, size=(8, 3)), "grad has width 4, which .* does not make of 3"),
        (lambda c: replace(c, stride=0), "stride is 0 and padding 1; they are at least 1 and 0"),
        (lambda c: replace(c, padding=-1), "stride is 2 and padding -1"),
        (lambda c: replace(c, relu=nhwc(c.relu[:, :, :4])), r"mask has shape .* not \[M, 8, 8, 2"),
    ],
)
def test_refuses_by_name(change: Callable[[Case], Case], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(make_case(masks=2)).run()
