"""conv1x1_input_gradient against float64: any image size, channels and mask; refusals by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.relu_masks import packed
from vkdnw.ops.convolution import conv1x1_input_gradient, load


@dataclass(frozen=True)
class Case:
    """Gradient of one convolution's output, its weight, and the ReLU output it was applied to."""

    grad: Tensor  # [N, Co, H, W]
    weight: Tensor  # [Co, Ci, 1, 1]
    relu: Tensor | None  # [M, Ci, H, W]

    def mask(self) -> Tensor | None:
        return None if self.relu is None else packed(self.relu)

    def run(self) -> Tensor:
        return conv1x1_input_gradient(self.grad, self.weight, self.mask())

    def masked(self, gradient: Tensor) -> Tensor:
        if self.relu is None:
            return gradient
        relus = self.relu.repeat(self.grad.shape[0] // self.relu.shape[0], 1, 1, 1)
        return torch.where(relus <= 0, 0.0, gradient)

    def expected(self) -> Tensor:
        """By automatic differentiation in float64."""
        samples, _, height, width = self.grad.shape
        x = torch.zeros(samples, self.weight.shape[1], height, width, dtype=torch.float64)
        y = F.conv2d(x.requires_grad_(), self.weight.double())
        return self.masked(torch.autograd.grad(y, x, self.grad.double())[0])

    def bound(self) -> Tensor:
        """On the error of each element: Co roundings of sums no larger than that of magnitudes.

        Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
        """
        roundings = self.weight.shape[0] * 2.0**-24
        magnitudes = F.conv_transpose2d(self.grad.double().abs(), self.weight.double().abs())
        return self.masked(roundings / (1 - roundings) * magnitudes)

    def is_accurate(self) -> bool:
        error = (self.run().double() - self.expected()).abs()
        return bool((error <= self.bound()).all())


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def make_case(
    samples: int, out: int, channels: int, size: tuple[int, int], masks: int = 0, seed: int = 0
) -> Case:
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(out, channels, 1, 1, generator=rng)
    grad = nhwc(torch.randn(samples, out, *size, generator=rng))
    relu = nhwc(torch.randn(masks, channels, *size, generator=rng).relu()) if masks else None
    return Case(grad, weight, relu)


def random_case(seed: int) -> Case:
    rng = random.Random(seed)
    out, channels = (rng.choice((16, 32, 48, 64, 80, 144)) for _ in range(2))
    masks, repeats = rng.randint(1, 3), rng.randint(1, 3)
    size = rng.randint(1, 14), rng.randint(1, 14)
    return make_case(masks * repeats, out, channels, size, rng.choice((0, masks)), seed)


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_float64(seed: int) -> None:
    assert random_case(seed).is_accurate()


@pytest.mark.parametrize("channels", [16, 32, 48, 64, 80])
def test_every_number_of_pixels(channels: int) -> None:
    """A row of the product for each pixel: none is left out at the end, nor in front of a mask."""
    for pixels in (*range(1, 31), 95, 96, 97, 193):
        assert make_case(2, 16, channels, (1, pixels), masks=1, seed=pixels).is_accurate(), pixels


@pytest.mark.parametrize(("channels", "size"), [(16, 32), (32, 16), (64, 8)])
def test_shapes_of_nas_bench_201(channels: int, size: int) -> None:
    case = make_case(8, channels, channels, (size, size), masks=4)
    assert case.is_accurate()
    assert case.run().is_contiguous(memory_format=torch.channels_last)


def test_each_sample_has_its_mask() -> None:
    """With more samples than masks, sample n has mask n % M."""
    case = make_case(6, 16, 16, (5, 6), masks=3)
    assert case.relu is not None
    together = case.run()
    for n in range(6):
        alone = Case(case.grad[n : n + 1], case.weight, case.relu[n % 3 : n % 3 + 1])
        assert torch.equal(together[n : n + 1], alone.run())


def test_masks_as_threshold_backward() -> None:
    """Zero at 0, -0.0, negative and -inf; the gradient at positive, inf and NaN."""
    case = make_case(1, 16, 16, (8, 8))
    gradient = case.run()
    values = torch.tensor([0.0, -0.0, -1.0, -torch.inf, 1e-45, 1.0, torch.inf, torch.nan])
    relu = nhwc(values[:, None].expand(1, 16, 8, 8))
    masked = Case(case.grad, case.weight, relu).run()
    expected = torch.ops.aten.threshold_backward(gradient, relu, 0)
    assert torch.equal(masked, expected)
    assert torch.equal(masked[:, :, 4:], gradient[:, :, 4:])
    assert not masked[:, :, :4].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_reaches_its_pixel_alone_unless_masked(value: float) -> None:
    case = make_case(2, 16, 32, (4, 5))
    case.grad[1, 5, 3, 4] = value
    gradient = case.run()
    reached = ~gradient.isfinite()
    assert reached[1, :, 3, 4].all()
    assert reached.sum() == 32
    closed = torch.zeros_like(gradient)
    assert torch.equal(Case(case.grad, case.weight, closed).run(), closed)


def test_weights_may_have_any_strides() -> None:
    case = make_case(2, 32, 16, (5, 5))
    strided = case.weight.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    assert torch.equal(Case(case.grad, strided, None).run(), case.run())


def test_no_samples() -> None:
    case = make_case(0, 16, 32, (4, 4))
    assert case.run().shape == (0, 32, 4, 4)


def test_leaves_its_arguments_alone() -> None:
    case = make_case(4, 16, 32, (5, 6), masks=2)
    mask = case.mask()
    assert mask is not None
    arguments = case.grad, case.weight, mask
    before = [argument.clone() for argument in arguments]
    conv1x1_input_gradient(*arguments)
    for argument, copy in zip(arguments, before, strict=True):
        assert torch.equal(argument, copy)


@pytest.mark.parametrize("channels", [16, 48])
def test_any_thread_count_gives_the_same_bits(channels: int) -> None:
    """The sizes are large enough for both threads to get work."""
    case = make_case(9, 64, channels, (29, 31), masks=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = case.run()
        torch.set_num_threads(2)
        two = case.run()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)


@pytest.mark.parametrize("masks", [0, 2])
def test_opcheck(masks: int) -> None:
    load()
    case = make_case(4, 16, 32, (5, 6), masks)
    torch.library.opcheck(
        torch.ops.vkdnw.conv1x1_input_gradient, (case.grad, case.weight, case.mask())
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("grad", lambda g: g[0], r"grad has 3 dimensions, not 4: \[N, Co, H, W\]"),
        ("grad", lambda g: g.contiguous(), r"grad is not channels_last; call grad\.contiguous"),
        ("grad", lambda g: g.bfloat16(), "grad is BFloat16, not float32; convert it"),
        ("grad", lambda g: nhwc(g.repeat(1, 2, 1, 1)), "grad has 32 channels and weight 16 output"),
        ("grad", lambda g: g[:, :, :0], "grad has images of 0 x 6 pixels"),
        ("weight", lambda w: w[..., 0], r"weight has 3 dimensions, not 4: \[Co, Ci, 1, 1\]"),
        ("weight", lambda w: w.expand(16, 32, 3, 1), "kernel size 3 x 1, not 1 x 1.*conv2d_input"),
        ("weight", lambda w: w[:, :24], "16 output and 24 input channels.*multiples of 16"),
        ("weight", lambda w: w[:0], "0 output and 32 input channels"),
        ("weight", lambda w: w.double(), "weight is Double, not float32"),
        ("mask", lambda m: m[0], r"mask has 3 dimensions, not 4: \[M, H, W, Ci / 8\]"),
        ("mask", lambda m: m.float(), "mask is Float, not uint8; pass .* rectify"),
        ("mask", lambda m: m[..., :2], r"mask has shape \[4, 5, 6, 2\], not \[M, 5, 6, 4\]"),
        ("mask", lambda m: m[:, :, :5], r"mask has shape \[4, 5, 5, 4\], not \[M, 5, 6, 4\]"),
        ("mask", lambda m: m[:, 1:], r"mask has shape \[4, 4, 6, 4\], not \[M, 5, 6, 4\]"),
        ("mask", lambda m: nhwc(m), r"mask is not contiguous; call mask\.contiguous\(\)"),
        ("mask", lambda m: m[:3], "mask has 3 samples and grad 4; .* must be a multiple"),
        ("mask", lambda m: m[:0], "mask has 0 samples and grad 4"),
    ],
)
def test_refuses_by_name_with_the_remedy(
    name: str, change: Callable[[Tensor], Tensor], message: str
) -> None:
    case = make_case(4, 16, 32, (5, 6), masks=4)
    mask = case.mask()
    assert mask is not None
    arguments = {"grad": case.grad, "weight": case.weight, "mask": mask}
    arguments[name] = change(arguments[name])
    with pytest.raises(ValueError, match=message):
        conv1x1_input_gradient(**arguments)
