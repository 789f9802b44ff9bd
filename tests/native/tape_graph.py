"""A tape for vkdnw::backpropagate_, and the same gradients the slow way, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.relu_masks import packed
from vkdnw.ops.backpropagate import NONE, Layer, Norm, backpropagate_
from vkdnw.ops.batch_norm import batch_norm_statistics
from vkdnw.ops.convolution import winograd_weights

ACCURACY = 2e-5
"""Of a value's largest gradient: a handful of layers of Winograd's accuracy, see its own tests."""


EPS = 1e-5


def unpacked(signs: Tensor) -> Tensor:
    """``[N, C, H, W]`` float64 of ``[N, H, W, C / 8]``."""
    bits = signs.unsqueeze(-1) >> torch.arange(8) & 1
    return (2.0 * bits.double() - 1).flatten(3).permute(0, 3, 1, 2)


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


@dataclass
class Graph:
    """A tape under construction, with the values that differentiate it the slow way."""

    samples: int
    masks_of: int  # samples with a mask of their own
    rng: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    values: list[tuple[int, int, int]] = field(default_factory=list)
    cotangents: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)  # native
    kernels: list[Tensor] = field(default_factory=list)  # [Co, Ci, Kh, Kw]
    relus: list[Tensor] = field(default_factory=list)
    terms: list[tuple[int, ...]] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    products: list[tuple[int, int]] = field(default_factory=list)  # value, cotangent

    def cotangent(self, channels: int, height: int, width: int) -> int:
        shape = (self.samples, channels, height, width)
        self.cotangents.append(nhwc(torch.randn(shape, generator=self.rng)))
        return self.value(channels, height, width)

    def sign_cotangent(self, channels: int, height: int, width: int) -> int:
        """A cotangent of +1 and -1, packed."""
        shape = (self.samples, channels, height, width)
        self.cotangents.append(packed(torch.randn(shape, generator=self.rng)))
        return self.value(channels, height, width)

    def value(self, channels: int, height: int, width: int) -> int:
        self.values.append((channels, height, width))
        return len(self.values) - 1

    def relu(self, value: int) -> int:
        shape = (self.masks_of, *self.values[value])
        self.relus.append(nhwc(torch.randn(shape, generator=self.rng).relu()))
        return len(self.relus) - 1

    def norm(self, value: int) -> int:
        """A BatchNorm of a map of a value's size, whose channels differ in mean and deviation."""
        shape = (self.samples, *self.values[value])
        scale, mean = torch.randn(2, 1, shape[1], 1, 1, generator=self.rng)
        x = nhwc(torch.randn(shape, generator=self.rng) * scale + 3 * mean)
        weight = torch.randn(shape[1], generator=self.rng)
        self.norms.append(Norm(x, batch_norm_statistics(x, EPS), weight))
        return len(self.norms) - 1

    def term(
        self, layer: Layer, source: int, destination: int, mask: int = NONE, **options: int
    ) -> None:
        stride, padding = options.get("stride", 1), options.get("padding", 0)
        weights = NONE
        if layer == Layer.SCALE:
            self.kernels.append(torch.tensor([-0.75]))
            self.weights.append(self.kernels[-1])
            weights = len(self.weights) - 1
        elif layer in (Layer.CONV3X3, Layer.CONV1X1, Layer.STRIDED_CONV, Layer.DEPTHWISE_CONV):
            size = {Layer.CONV3X3: 3, Layer.CONV1X1: 1}.get(layer, options.get("kernel", 3))
            outputs, inputs = self.values[source][0], self.values[destination][0]
            inputs, summed = (1, 1) if layer == Layer.DEPTHWISE_CONV else (inputs, outputs)
            kernel = torch.randn(outputs, inputs, size, size, generator=self.rng)
            kernel /= (summed * size * size) ** 0.5
            self.kernels.append(kernel)
            native = {
                Layer.CONV3X3: winograd_weights,
                Layer.CONV1X1: lambda weight: weight,
                Layer.STRIDED_CONV: lambda weight: weight.permute(2, 3, 0, 1).contiguous(),
                Layer.DEPTHWISE_CONV: lambda weight: weight[:, 0].permute(1, 2, 0).contiguous(),
            }
            self.weights.append(native[layer](kernel))
            weights = len(self.weights) - 1
        norm = options.get("norm", NONE)
        self.terms.append((layer, source, destination, weights, mask, stride, padding, norm))

    def arguments(self, cotangents: list[Tensor] | None = None) -> tuple[object, ...]:
        """Those of the op; every channel of every value is read, [N, C, H, W] value by value."""
        samples = self.samples if cotangents is None else len(cotangents[0])
        readings, offset = [], 0
        for value, (channels, height, width) in enumerate(self.values):
            plane = height * width
            readings += [
                (value, channel, offset + channel * plane, channels * plane)
                for channel in range(channels)
            ]
            offset += samples * channels * plane
        packed_cotangents = {
            i for i, cotangent in enumerate(self.cotangents) if cotangent.dtype == torch.uint8
        }
        readings = [row for row in readings if row[0] not in packed_cotangents]
        return (
            torch.full((offset,), torch.nan),
            self.cotangents if cotangents is None else cotangents,
            self.weights,
            [packed(relu) for relu in self.relus],
            torch.tensor(self.values),
            torch.tensor(self.terms, dtype=torch.int64).view(-1, 8),
            torch.tensor(readings),
            self.norms,
            torch.full((sum(self.sizes()),), torch.nan, dtype=torch.float64),
            torch.tensor(
                [(*product, sum(self.sizes()[:i])) for i, product in enumerate(self.products)],
                dtype=torch.int64,
            ).view(-1, 3),
        )

    def sizes(self) -> list[int]:
        """Numbers of each product, and one more."""
        return [self.product_shape(*product).numel() + 1 for product in self.products]

    def product_shape(self, value: int, cotangent: int) -> torch.Size:
        """``[r, r, C, D]``."""
        wide, narrow = self.values[value], self.values[cotangent]
        ratio = wide[1] // narrow[1]
        return torch.Size((ratio, ratio, wide[0], narrow[0]))

    def run(self, cotangents: list[Tensor] | None = None) -> list[Tensor]:
        """The gradients of all values, ``[N, C, H, W]`` each; packed cotangents are not read."""
        arguments = self.arguments(cotangents)
        planes = backpropagate_(*arguments)  # type: ignore[arg-type]
        samples = self.samples if cotangents is None else len(cotangents[0])
        sizes = [samples * c * h * w for c, h, w in self.values]
        parts = torch.split(planes, sizes)
        found = [part.view(-1, *value) for part, value in zip(parts, self.values, strict=True)]
        packed_cotangents = [cotangent.dtype == torch.uint8 for cotangent in self.cotangents]
        return [
            unpacked(self.cotangents[i]).float()
            if packed_cotangents[i : i + 1] == [True]
            else gradient
            for i, gradient in enumerate(found)
        ]

    def run_products(self) -> tuple[list[Tensor], list[bool]]:
        """The products, and whether each gradient is equal to its cotangent."""
        arguments = self.arguments()
        backpropagate_(*arguments)  # type: ignore[arg-type]
        matrices = arguments[8]
        assert isinstance(matrices, Tensor)
        parts = matrices.split(self.sizes())
        shapes = [self.product_shape(*product) for product in self.products]
        found = [part[:-1].view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return found, [bool(part[-1]) for part in parts]

    def expected_products(self) -> list[Tensor]:
        """Pixel by pixel of the cotangent's map, in float64."""
        gradients = self.expected()
        found = []
        for value, cotangent in self.products:
            ratio = self.product_shape(value, cotangent)[0]
            wide = gradients[value].unflatten(3, (-1, ratio)).unflatten(2, (-1, ratio))
            found.append(torch.einsum("ncyixj,ndyx->ijcd", wide, gradients[cotangent]))
        return found

    def expected(self) -> list[Tensor]:
        """Term by term, each differentiated automatically in float64."""
        gradients = [
            unpacked(cotangent) if cotangent.dtype == torch.uint8 else cotangent.double()
            for cotangent in self.cotangents
        ]
        gradients += [
            torch.zeros(self.samples, *value, dtype=torch.float64)
            for value in self.values[len(self.cotangents) :]
        ]
        for layer, source, destination, weights, mask, stride, padding, norm in self.terms:
            x = torch.zeros(self.samples, *self.values[destination], dtype=torch.float64)
            y = self._forward(Layer(layer), x.requires_grad_(), weights, stride, padding)
            sent = gradients[source] if norm == NONE else self._through(norm, gradients[source])
            (back,) = torch.autograd.grad(y, x, sent)
            if mask != NONE:
                relus = self.relus[mask].repeat(self.samples // self.masks_of, 1, 1, 1)
                back = torch.where(relus <= 0, 0.0, back)
            gradients[destination] += back
        return gradients

    def _through(self, norm: int, gradient: Tensor) -> Tensor:
        x = self.norms[norm].x.double().requires_grad_()
        weight = self.norms[norm].weight.double()
        y = F.batch_norm(x, None, None, weight, training=True, eps=EPS)
        return torch.autograd.grad(y, x, gradient)[0]

    def _forward(self, layer: Layer, x: Tensor, weights: int, stride: int, padding: int) -> Tensor:
        kernel = self.kernels[weights].double() if weights != NONE else x
        forward: dict[Layer, Callable[[], Tensor]] = {
            Layer.IDENTITY: lambda: x * 1,
            Layer.CONV3X3: lambda: F.conv2d(x, kernel, padding=1),
            Layer.CONV1X1: lambda: F.conv2d(x, kernel),
            Layer.STRIDED_CONV: lambda: F.conv2d(x, kernel, stride=stride, padding=padding),
            Layer.AVG_POOL3X3: lambda: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
            Layer.MEAN_POOL: lambda: F.avg_pool2d(x, stride),
            Layer.SCALE: lambda: x * kernel,
            Layer.DEPTHWISE_CONV: lambda: F.conv2d(
                x, kernel, stride=stride, padding=padding, groups=x.shape[1]
            ),
        }
        return forward[layer]()


def assert_agrees(graph: Graph) -> None:
    for value, (found, expected) in enumerate(zip(graph.run(), graph.expected(), strict=True)):
        error = (found.double() - expected).abs().max()
        assert error <= ACCURACY * expected.abs().max(), f"value {value}"
