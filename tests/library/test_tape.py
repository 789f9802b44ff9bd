"""Networks whose backward passes go, in part, through one native tape in float32.

The gradients of the tape are held to the slow reference in float64; which nodes go onto it, to what
the graph allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests import reference
from vkdnw.backward.tape import Tape
from vkdnw.backward.tape_compiler import compile_tape
from vkdnw.ops.backpropagate import Layer
from vkdnw.per_sample.reverse_mode import gradient_sinks as sinks

TOLERANCE = 1e-4
"""Of the Jacobian's norm, in float32: some layers of rounding. No ReLU of these networks is so near
zero that its sign depends on it."""


def block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Cell(nn.Module):
    """Nodes joined by convolutions, a pooling and a skip, and a reduction to half the width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = block(16, 16), block(16, 16, kernel=1)
        self.third = block(16, 16)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.reduce = nn.Sequential(block(16, 32, stride=2), block(32, 32))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(16, 32, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        middle = self.first(x)
        output: Tensor = self.second(x) + self.third(middle) + self.pool(middle) + x
        reduced: Tensor = self.reduce(output) + self.shortcut(output)
        return reduced


class Network(nn.Module):
    """A stem, a body and a head."""

    def __init__(self, body: nn.Module, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.body = body
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.stem(x)))
        return logits


class Doubled(nn.Module):
    """A sum of a feature map with itself, and twice a layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = block(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x + x)
        return torch.add(y, y)


class Scaled(nn.Module):
    """A sum whose second term is scaled, which the tape does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = block(16, 16), block(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.first(x), self.second(x), alpha=0.5)


class Multiplied(nn.Module):
    """A product with a number, and one with a map."""

    def __init__(self, factor: float | Tensor) -> None:
        super().__init__()
        self.factor = factor
        self.conv = block(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv(x) * self.factor
        return y


class Broadcast(nn.Module):
    """A sum with one number an image, whose gradient is a sum over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = block(16, 16), block(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.wide(x) + self.narrow(x).mean((2, 3), keepdim=True)
        return summed


class Bypassed(nn.Module):
    """The stem's output is read by convolutions and, past them all, by the head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(block(16, 16), block(16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.convolutions(x), torch.tanh(x)], dim=1)


class Pooled(nn.Module):
    """Average poolings that leave pixels over, overlap, or pad."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(block(16, 16), nn.AvgPool2d(*args, **kwargs), block(16, 32))

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.layers(x)
        return pooled


class InvertedResidual(nn.Module):
    """As MobileNetV2 has it, with a ReLU behind the sum; a projection past it where it strides."""

    def __init__(
        self,
        inputs: int,
        expanded: int,
        kernel: int,
        stride: int = 1,
        outputs: int | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        outputs = inputs if outputs is None else outputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, expanded, 1, bias=False),
            nn.BatchNorm2d(expanded),
            nn.ReLU(inplace),
            nn.Conv2d(expanded, expanded, kernel, stride, kernel // 2, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            nn.ReLU(inplace),
            nn.Conv2d(expanded, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.relu(self.layers(x) + self.shortcut(x))
        return summed


class Normalised(nn.Module):
    """A normalisation that no convolution can compute, since it follows a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = block(16, 16), nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.norm(x + self.conv(x))
        return normalised


@dataclass(frozen=True)
class Case:
    body: Callable[[], nn.Module]
    layers: dict[Layer, int]  # that send gradients back on the tape, and how many of each
    width: int = 32
    size: tuple[int, int] = (12, 8)  # of the images


CELL = {
    Layer.IDENTITY: 1,  # the skip; all other terms of the sums are those of convolutions
    Layer.CONV3X3: 3,
    Layer.CONV1X1: 2,
    Layer.STRIDED_CONV: 1,
    Layer.AVG_POOL3X3: 1,
    Layer.MEAN_POOL: 1,
}

CASES = {
    "cell and reduction": Case(Cell, CELL),
    "two of them": Case(
        lambda: nn.Sequential(Cell(), nn.Conv2d(32, 16, 1), Cell()),
        {layer: 2 * count + (layer == Layer.CONV1X1) for layer, count in CELL.items()},
    ),
    "sums with itself": Case(Doubled, {Layer.CONV3X3: 1, Layer.IDENTITY: 4}, width=16),
    "scaled sum": Case(Scaled, {Layer.CONV3X3: 2}, width=16),
    "product with a number": Case(
        lambda: Multiplied(-1.5), {Layer.CONV3X3: 1, Layer.IDENTITY: 1, Layer.SCALE: 1}, width=16
    ),
    "product with zero": Case(
        lambda: Multiplied(0.0), {Layer.CONV3X3: 1, Layer.IDENTITY: 1, Layer.SCALE: 1}, width=16
    ),
    "product with a number in a tensor": Case(
        lambda: Multiplied(torch.tensor(0.5)),
        {Layer.CONV3X3: 1, Layer.IDENTITY: 1, Layer.SCALE: 1},
        width=16,
    ),
    "product with a map": Case(lambda: Multiplied(torch.rand(12, 8)), {}, width=16),
    "broadcast sum": Case(Broadcast, {Layer.CONV3X3: 2}, width=16),
    "read above and below": Case(Bypassed, {}),
    "pooling that leaves pixels over": Case(
        lambda: Pooled(3), {Layer.CONV3X3: 2, Layer.MEAN_POOL: 1}
    ),
    "overlapping pooling": Case(lambda: Pooled(3, 2), {Layer.CONV3X3: 1}),
    "padded pooling": Case(lambda: Pooled(2, 2, 1), {Layer.CONV3X3: 1}),
    "pooling rounded up": Case(lambda: Pooled(3, ceil_mode=True), {Layer.CONV3X3: 1}),
    "pooling with a divisor": Case(lambda: Pooled(2, divisor_override=3), {Layer.CONV3X3: 1}),
    "strides of 1 x 1 kernels": Case(
        lambda: block(16, 32, kernel=1, stride=2), {Layer.STRIDED_CONV: 1}
    ),
    "large strided kernel": Case(
        lambda: block(16, 32, kernel=7, stride=3), {Layer.STRIDED_CONV: 1}
    ),
    "channels that are no multiple of 16": Case(
        lambda: nn.Sequential(block(16, 24), block(24, 40, stride=2), block(40, 7, kernel=1)),
        {Layer.CONV3X3: 1, Layer.STRIDED_CONV: 1, Layer.CONV1X1: 1},
        width=7,
    ),
    "inverted residuals": Case(
        lambda: nn.Sequential(*(InvertedResidual(16, 24, kernel) for kernel in (3, 5, 7))),
        {Layer.CONV1X1: 6, Layer.DEPTHWISE_CONV: 3, Layer.IDENTITY: 4},  # the last ReLU, and skips
        width=16,
    ),
    "inverted residuals in place": Case(
        lambda: InvertedResidual(16, 16, 3, inplace=True),
        # An overwritten normalisation is not folded: it has a factor for each channel.
        {Layer.CONV1X1: 2, Layer.DEPTHWISE_CONV: 2, Layer.IDENTITY: 2},
        width=16,
    ),
    "inverted residual with a stride": Case(
        lambda: InvertedResidual(16, 24, 3, stride=2, outputs=20),
        {Layer.CONV1X1: 2, Layer.DEPTHWISE_CONV: 1, Layer.STRIDED_CONV: 1, Layer.IDENTITY: 1},
        width=20,
    ),
    "normalisation of a sum": Case(
        Normalised, {Layer.CONV3X3: 1, Layer.DEPTHWISE_CONV: 1, Layer.IDENTITY: 1}, width=16
    ),
    "ReLUs of a ReLU": Case(
        lambda: nn.Sequential(block(16, 16), nn.ReLU(), nn.ReLU(), block(16, 16)),
        {Layer.CONV3X3: 2, Layer.IDENTITY: 2},
        width=16,
    ),
    "a ReLU before a pooling": Case(
        lambda: nn.Sequential(block(16, 16), nn.ReLU(), nn.AvgPool2d(2), block(16, 16)),
        {Layer.CONV3X3: 2, Layer.MEAN_POOL: 1, Layer.IDENTITY: 1},
        width=16,
    ),
    "mean over all of a square map": Case(
        lambda: block(16, 16), {Layer.CONV3X3: 1, Layer.MEAN_POOL: 1}, width=16, size=(8, 8)
    ),
    "groups of some channels": Case(
        lambda: nn.Sequential(block(16, 16), nn.Conv2d(16, 16, 3, padding=1, groups=4)),
        {Layer.CONV3X3: 1},
        width=16,
    ),
    "dilation": Case(
        lambda: nn.Sequential(block(16, 16), nn.Conv2d(16, 16, 3, padding=2, dilation=2)),
        {Layer.CONV3X3: 1},
        width=16,
    ),
}


def build(case: Case) -> nn.Module:
    torch.manual_seed(0)
    model = Network(case.body(), case.width)
    vkdnw.initialise(model, "kaiming_normal", seed=0)
    return model.eval()


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape | None]:
    """Every tape that is compiled, or None where there is none."""
    compiled: list[Tape | None] = []

    def watch(*args: object) -> Tape | None:
        compiled.append(compile_tape(*args))  # type: ignore[arg-type]
        return compiled[-1]

    monkeypatch.setattr(sinks, "compile_tape", watch)
    return compiled


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str, tapes: list[Tape | None]) -> None:
    case = CASES[name]
    model = build(case)
    batch = torch.randn(5, 3, *case.size, generator=torch.Generator().manual_seed(1))
    choice = vkdnw.weights.spaced(3)
    found = vkdnw.jacobian(model, batch, weights=choice).double()
    selection = vkdnw.weights.select(model, choice)
    expected = reference.reference_jacobian(model.double(), batch.double(), selection)
    assert (found - expected).norm() <= TOLERANCE * expected.norm()
    assert tapes, "no tape was looked for"
    for tape in tapes:
        layers = [] if tape is None else tape.terms[:, 0].tolist()
        assert Counter(layers) == case.layers


def test_dense_rows_and_float64_stay_with_autograd(tapes: list[Tape | None]) -> None:
    """Dense rows read whole gradients, and float64 has no kernels."""
    model = build(CASES["cell and reduction"])
    batch = torch.randn(2, 3, 8, 8)
    vkdnw.jacobian(model, batch, weights={"head.2.weight": range(100)})
    vkdnw.jacobian(model.double(), batch.double())
    assert tapes == []


def test_channels_of_one_gradient_are_read_once() -> None:
    """Layers whose outputs are summed up have one gradient, whatever picks read it."""
    model = build(CASES["cell and reduction"])
    batch = torch.randn(3, 3, 8, 8)
    one = vkdnw.jacobian(model, batch, weights={"body.second.1.weight": [0]})
    more = vkdnw.jacobian(
        model,
        batch,
        weights={"body.second.1.weight": [0], "body.second.2.bias": [0, 9], "stem.0.weight": [5]},
    )
    assert torch.equal(one[..., 0], more[..., -3])


def test_any_number_of_cotangents_at_a_time_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(CASES["cell and reduction"])
    batch = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    together = vkdnw.jacobian(model, batch)
    monkeypatch.setattr("vkdnw.per_sample.reverse_mode.chunk._cotangents_of_tape", lambda *_: 1)
    assert torch.equal(vkdnw.jacobian(model, batch), together)
