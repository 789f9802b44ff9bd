"""conv_input_gradient against automatic differentiation in float64, for each of its kernels."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.relu_masks import packed
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.convolution import conv_input_gradient, load, packed_weight, winograd_weights

ROUNDING = 2.0**-24  # of float32

WINOGRAD_ERROR = 5e-6
"""Of the largest element: F(4x4, 3x3) has to be this accurate to be used for gradients."""


@dataclass(frozen=True)
class Case:
    """Gradient of a convolution's output, the convolution, and the output of the ReLU in front."""

    layer: Layer
    grad: Tensor  # [N, Co, Ho, Wo]
    weight: Tensor  # [Co, Ci, Kh, Kw]
    relu: Tensor | None  # [M, Ci, H, W]
    size: tuple[int, int]
    stride: int
    padding: int

    def arguments(self) -> dict[str, Tensor]:
        return {
            "grad": self.grad,
            "weight": packed_weight(self.layer, self.weight),
            "mask": torch.empty(0) if self.relu is None else packed(self.relu),
        }

    def run(self, **changed: Tensor) -> Tensor:
        given = self.arguments() | changed
        mask = None if self.relu is None else given["mask"]
        geometry = self.size, self.stride, self.padding
        return conv_input_gradient(self.layer, given["grad"], given["weight"], mask, *geometry)

    def unmasked(self) -> Tensor:
        """By automatic differentiation in float64."""
        return self._back(self.grad.double(), self.weight.double())

    def expected(self) -> Tensor:
        if self.relu is None:
            return self.unmasked()
        relus = self.relu.repeat(len(self.grad) // len(self.relu), 1, 1, 1)
        return torch.where(relus <= 0, 0.0, self.unmasked())

    def bound(self) -> Tensor:
        """On the error of each element.

        Of sums taken in order: a rounding for each term of a sum no larger than that of magnitudes
        (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Winograd's algorithm
        has errors relative to the largest element.
        """
        if self.layer == Layer.CONV3X3:
            return WINOGRAD_ERROR * self.unmasked().abs().max()
        roundings = self.weight[:, 0].numel() * ROUNDING
        magnitudes = self._back(self.grad.double().abs(), self.weight.double().abs())
        return roundings / (1 - roundings) * magnitudes

    def is_accurate(self) -> bool:
        error = (self.run().double() - self.expected()).abs()
        return bool((error <= self.bound()).all())

    def _back(self, grad: Tensor, weight: Tensor) -> Tensor:
        x = torch.zeros(len(grad), weight.shape[1], *self.size, dtype=torch.float64)
        y = F.conv2d(x.requires_grad_(), weight, stride=self.stride, padding=self.padding)
        return torch.autograd.grad(y, x, grad)[0]


GEOMETRY = {Layer.CONV3X3: ((3, 3), 1, 1), Layer.CONV1X1: ((1, 1), 1, 0)}
"""Kernel size, stride and padding."""


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


def make_case(
    layer: Layer,
    size: tuple[int, int] = (8, 8),
    channels: tuple[int, int] = (32, 16),
    geometry: tuple[tuple[int, int], int, int] = ((3, 3), 2, 1),
    samples: int = 2,
    masks: int = 0,
    seed: int = 0,
) -> Case:
    """Channels are those of the output and of the input; `geometry` is for a strided layer."""
    kernel, stride, padding = GEOMETRY.get(layer, geometry)
    rng = torch.Generator().manual_seed(seed)
    outputs = [(n + 2 * padding - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
    grad = nhwc(torch.randn(samples, channels[0], *outputs, generator=rng))
    weight = torch.randn(*channels, *kernel, generator=rng)
    relu = nhwc(torch.randn(masks, channels[1], *size, generator=rng).relu()) if masks else None
    return Case(layer, grad, weight, relu, size, stride, padding)


def random_case(layer: Layer, seed: int) -> Case:
    rng = random.Random(seed)
    kernel, padding = (rng.randint(1, 5), rng.randint(1, 5)), rng.randint(0, 3)
    smallest = [max(1, k - 2 * padding) if layer == Layer.STRIDED_CONV else 1 for k in kernel]
    masks = rng.randint(1, 3)
    return make_case(
        layer,
        (smallest[0] + rng.randint(0, 13), smallest[1] + rng.randint(0, 13)),
        (rng.choice((16, 32, 48, 64, 80)), rng.choice((16, 32, 48, 80, 144))),
        (kernel, rng.randint(1, 4), padding),
        masks * rng.randint(1, 3),
        rng.choice((0, masks)),
        seed,
    )


each_layer = pytest.mark.parametrize("layer", [Layer.CONV3X3, Layer.CONV1X1, Layer.STRIDED_CONV])


@each_layer
@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_float64(layer: Layer, seed: int) -> None:
    assert random_case(layer, seed).is_accurate()


@each_layer
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (4, 4), (5, 4), (6, 6), (7, 10), (8, 8)])
def test_every_kind_of_edge_tile(layer: Layer, size: tuple[int, int]) -> None:
    assert make_case(layer, size, samples=3, masks=3).is_accurate()


@pytest.mark.parametrize("channels", [16, 32, 48, 64, 80])
def test_every_number_of_pixels(channels: int) -> None:
    """A row of the product for each pixel: none is left out at the end, nor in front of a mask."""
    for pixels in (*range(1, 31), 95, 96, 97, 193):
        case = make_case(Layer.CONV1X1, (1, pixels), (16, channels), masks=1, seed=pixels)
        assert case.is_accurate(), pixels


@each_layer
@pytest.mark.parametrize(("channels", "size"), [(16, 32), (32, 16), (64, 8)])
def test_shapes_of_nas_bench_201(layer: Layer, channels: int, size: int) -> None:
    outputs = 2 * channels if layer == Layer.STRIDED_CONV else channels
    case = make_case(layer, (size, size), (outputs, channels), samples=8, masks=4)
    assert case.is_accurate()
    assert case.run().is_contiguous(memory_format=torch.channels_last)


@each_layer
def test_each_sample_has_its_mask(layer: Layer) -> None:
    """With more samples than masks, sample n has mask n % M."""
    case = make_case(layer, (5, 6), samples=6, masks=3)
    assert case.relu is not None
    all_samples = case.run()
    for n in range(6):
        alone = replace(case, grad=case.grad[n : n + 1], relu=case.relu[n % 3 : n % 3 + 1])
        assert torch.equal(all_samples[n : n + 1], alone.run())


@each_layer
def test_masks_as_threshold_backward(layer: Layer) -> None:
    """Zero at 0, -0.0, negative and -inf; the gradient at positive, inf and NaN."""
    case = make_case(layer, samples=1)
    gradient = case.run()
    values = torch.tensor([0.0, -0.0, -1.0, -torch.inf, 1e-45, 1.0, torch.inf, torch.nan])
    relu = nhwc(values[:, None].expand(1, 16, 8, 8))
    masked = replace(case, relu=relu).run()
    assert torch.equal(masked, torch.ops.aten.threshold_backward(gradient, relu, 0))
    assert torch.equal(masked[:, :, 4:], gradient[:, :, 4:])
    assert not masked[:, :, :4].any()


@each_layer
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_reaches_what_depends_on_it(layer: Layer, value: float) -> None:
    """And nothing else, but with Winograd's algorithm, other pixels of the same tiles."""
    case = make_case(layer)
    pixel = case.grad[1, 5, 1, 2]
    pixel.fill_(1.0)
    alone = torch.zeros_like(case.grad)
    alone[1, 5, 1, 2] = 1.0
    depends = case._back(alone.double(), torch.ones_like(case.weight).double()) != 0
    pixel.fill_(value)
    reached = ~case.run().isfinite()
    assert reached[depends].all()
    if layer != Layer.CONV3X3:
        assert torch.equal(reached, depends)
    assert not reached[0].any()
    closed = torch.zeros(2, 16, *case.size)
    assert torch.equal(replace(case, relu=nhwc(closed)).run(), closed)


@each_layer
def test_no_samples(layer: Layer) -> None:
    case = make_case(layer)
    assert replace(case, grad=case.grad[:0]).run().shape == (0, 16, 8, 8)


@each_layer
def test_leaves_its_arguments_alone(layer: Layer) -> None:
    case = make_case(layer, masks=2)
    arguments = case.arguments()
    before = {name: argument.clone() for name, argument in arguments.items()}
    case.run(**arguments)
    for name, argument in arguments.items():
        assert torch.equal(argument, before[name])


@each_layer
def test_any_thread_count_gives_the_same_bits(layer: Layer) -> None:
    """The sizes are large enough for both threads to get work."""
    case = make_case(layer, (29, 31), (64, 16), samples=9, masks=3)
    one, two = on_one_and_two_threads(case.run)
    assert torch.equal(one, two)


@each_layer
def test_packs_weights_of_any_strides(layer: Layer) -> None:
    weight = make_case(layer).weight
    strided = weight.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    assert torch.equal(packed_weight(layer, strided), packed_weight(layer, weight))


@each_layer
@pytest.mark.parametrize("masks", [0, 2])
def test_opcheck(layer: Layer, masks: int) -> None:
    load()
    case = make_case(layer, (6, 8), masks=masks)
    given = case.arguments()
    mask = given["mask"] if masks else None
    geometry = int(layer), *case.size, case.stride, case.padding
    operator = torch.ops.vkdnw.conv_input_gradient
    torch.library.opcheck(operator, (given["grad"], given["weight"], mask, *geometry))


def test_opcheck_of_weights() -> None:
    load()
    torch.library.opcheck(torch.ops.vkdnw.winograd_weights, (torch.randn(16, 32, 3, 3),))


# ---- refusals ----------------------------------------


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(16, 16, 3), "weight has 3 dimensions, not 4"),
        (torch.zeros(16, 16, 5, 3), "kernel size 5 x 3, not 3 x 3.*conv2d_input"),
        (torch.zeros(16, 24, 3, 3), "16 output and 24 input channels.*multiples of 16"),
        (torch.zeros(0, 16, 3, 3), "0 output and 16 input channels"),
        (torch.zeros(16, 16, 3, 3, dtype=torch.float64), "weight is Double, not float32"),
    ],
)
def test_refuses_weights_to_transform(weight: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        winograd_weights(weight)


@each_layer
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("grad", lambda g: g[0], r"grad has 3 dimensions, not 4: \[N, Co, Ho, Wo\]"),
        ("grad", lambda g: g.contiguous(), r"grad is not channels_last; call grad\.contiguous"),
        ("grad", lambda g: g.bfloat16(), "grad is BFloat16, not float32; convert it"),
        ("grad", lambda g: nhwc(g.repeat(1, 2, 1, 1)), "grad has 64 channels and weight 32 output"),
        ("grad", lambda g: g[:, :, :0], "grad has images of 0 x . pixels"),
        ("grad", lambda g: nhwc(g[:, :, 1:]), "grad has height ., which .* does not make of 8"),
        ("grad", lambda g: nhwc(g[..., 1:]), "grad has width ., which .* does not make of 6"),
        ("weight", lambda w: w[..., 0], "weight has . dimensions, not ."),
        ("weight", lambda w: w.double(), "weight is Double, not float32"),
        ("mask", lambda m: m[0], r"mask has 3 dimensions, not 4: \[M, H, W, Ci / 8\]"),
        ("mask", lambda m: m.float(), "mask is Float, not uint8; pass .* rectify"),
        ("mask", lambda m: m[..., :1], r"mask has shape \[4, 8, 6, 1\], not \[M, 8, 6, 2\]"),
        ("mask", lambda m: m[:, :, :5], r"mask has shape \[4, 8, 5, 2\], not \[M, 8, 6, 2\]"),
        ("mask", lambda m: m[:, 1:], r"mask has shape \[4, 7, 6, 2\], not \[M, 8, 6, 2\]"),
        ("mask", lambda m: nhwc(m), r"mask is not contiguous; call mask\.contiguous\(\)"),
        ("mask", lambda m: m[:3], "mask has 3 samples and grad 4; .* must be a multiple"),
        ("mask", lambda m: m[:0], "mask has 0 samples and grad 4"),
    ],
)
def test_refuses_by_name_with_the_remedy(
    layer: Layer, name: str, change: Callable[[Tensor], Tensor], message: str
) -> None:
    case = make_case(layer, (8, 6), samples=4, masks=4)
    with pytest.raises(ValueError, match=message):
        case.run(**{name: change(case.arguments()[name])})


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        (Layer.CONV3X3, lambda w: w[1:], "weight is not what winograd_weights returns"),
        (Layer.CONV3X3, lambda w: w.mT, "weight is not what winograd_weights returns"),
        (Layer.CONV1X1, lambda w: w.expand(32, 16, 3, 1), "kernel size 3 x 1, not 1 x 1"),
        (Layer.CONV1X1, lambda w: w[:, :8], "32 output and 8 input channels.*multiples of 16"),
        (Layer.CONV1X1, lambda w: w[:0], "0 output and 16 input channels"),
        (Layer.STRIDED_CONV, lambda w: w[..., :8].contiguous(), "32 output and 8 input channels"),
        (Layer.STRIDED_CONV, lambda w: w.mT, "weight is not contiguous"),
    ],
)
def test_refuses_a_weight_that_is_not_packed_for_the_layer(
    layer: Layer, change: Callable[[Tensor], Tensor], message: str
) -> None:
    case = make_case(layer)
    with pytest.raises(ValueError, match=message):
        case.run(weight=change(case.arguments()["weight"]))


@pytest.mark.parametrize(
    ("layer", "stride", "padding", "message"),
    [
        (Layer.STRIDED_CONV, 0, 1, "stride is 0 and padding 1; they are at least 1 and 0"),
        (Layer.STRIDED_CONV, 2, -1, "stride is 2 and padding -1; they are at least 1 and 0"),
        (Layer.CONV3X3, 2, 1, "stride is 2 and padding 1; this layer has 1 and 1"),
        (Layer.CONV1X1, 1, 1, "stride is 1 and padding 1; this layer has 1 and 0"),
        (Layer.AVG_POOL3X3, 1, 1, r"layer is 4; it is 1 \(3x3 convolution\), 2 \(1x1\) or 3"),
    ],
)
def test_refuses_another_geometry_or_layer(
    layer: Layer, stride: int, padding: int, message: str
) -> None:
    known = layer if layer != Layer.AVG_POOL3X3 else Layer.CONV3X3
    given = make_case(known).arguments()
    with pytest.raises(ValueError, match=message):
        conv_input_gradient(layer, given["grad"], given["weight"], None, (8, 8), stride, padding)
