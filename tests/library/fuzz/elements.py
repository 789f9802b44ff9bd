"""The words of the grammar: small modules that take samples of one kind and return the same kind.

Images are ``[N, 4, h, w]``, vectors ``[N, 4]`` and sequences ``[N, 3, 4]``. Each element says what
may be expected of a model that holds it. A ``plain`` one must be right. One that draws
(``random``), reads other samples (``mixing``), or keeps work from autograd.grad (``hidden``) must
be refused, unless the numbers happen to make it right. One that changes from call to call
(``counting``) must be right for the state that the call finds, or refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from tests.library.cases.case import Forward

Kind = Literal["images", "vectors", "sequences"]
Label = Literal["plain", "random", "mixing", "counting", "hidden"]
EVERY: tuple[Kind, ...] = ("images", "vectors", "sequences")
FLAT: tuple[Kind, ...] = ("vectors", "sequences")
IMAGES: tuple[Kind, ...] = ("images",)
SEQUENCES: tuple[Kind, ...] = ("sequences",)
WIDTH, STEPS = 4, 3


@dataclass(frozen=True)
class Element:
    """One module; ``rounding`` is the coarsest dtype it computes in, beside the model's own."""

    name: str
    build: Callable[[random.Random, Kind], nn.Module]
    kinds: tuple[Kind, ...] = EVERY
    label: Label = "plain"
    rounding: torch.dtype | None = None


def layer(name: str, build: Callable[[], nn.Module], *kinds: Kind) -> Element:
    return Element(name, lambda draws, kind: build(), kinds)


def function(
    name: str,
    run: Callable[[Any, Tensor], Tensor],
    kinds: tuple[Kind, ...] = EVERY,
    label: Label = "plain",
    rounding: torch.dtype | None = None,
    **parts: Callable[[], Any],
) -> Element:
    """A forward written here, with parts made anew for every model."""

    def build(draws: random.Random, kind: Kind) -> nn.Module:
        return Forward(run, **{key: make() for key, make in parts.items()})

    return Element(name, build, kinds, label, rounding)


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


# Layers


def convolution(draws: random.Random, kind: Kind) -> nn.Conv2d:
    """Any stride, padding, dilation and groups that leave a pixel; half of them are set later."""
    kernel, dilation = draws.choice([1, 2, 3]), draws.choice([1, 1, 2])
    chosen = {
        "stride": draws.choice([1, 1, 2]),
        "padding": (dilation * (kernel - 1) + 1) // 2 + draws.choice([0, 0, 1]),
        "dilation": dilation,
    }
    options: dict[str, Any] = {"groups": draws.choice([1, 1, 2, 4]), "bias": draws.random() < 0.7}
    if draws.random() < 0.5:
        return nn.Conv2d(WIDTH, WIDTH, kernel, **options, **chosen)
    made = nn.Conv2d(WIDTH, WIDTH, kernel, **options)
    for name, value in chosen.items():
        setattr(made, name, (value, value))
    return made


def other_kernel(draws: random.Random, kind: Kind) -> nn.Conv2d:
    made = nn.Conv2d(WIDTH, WIDTH, 1)
    made.weight, made.padding = nn.Parameter(torch.empty(WIDTH, WIDTH, 3, 3)), (1, 1)
    return made


def batch_norm(draws: random.Random, kind: Kind) -> nn.Module:
    return {
        "images": lambda: nn.BatchNorm2d(WIDTH),
        "vectors": lambda: nn.BatchNorm1d(WIDTH),
        "sequences": lambda: nn.BatchNorm1d(STEPS),
    }[kind]()


class Antisymmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mT


def antisymmetric() -> nn.Module:
    return parametrize.register_parametrization(linear(), "weight", Antisymmetric())


def tied() -> nn.Module:
    both = nn.Sequential(linear(), nn.Tanh(), linear())
    both[2].weight = both[0].weight
    return both


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, 2, 6, batch_first=True)


def attention(m: Any, x: Tensor) -> Tensor:
    return m.inner(x, x, x, need_weights=False)[0]


def time_first(m: Any, x: Tensor) -> Tensor:
    x = x.transpose(0, 1)
    return m.inner(x, x, x)[0].transpose(0, 1)


LAYERS = [
    Element("convolution", convolution, IMAGES),
    Element("convolution with another kernel", other_kernel, IMAGES),
    Element("batch norm", batch_norm),
    layer("linear", linear, *FLAT),
    layer("layer norm", lambda: nn.LayerNorm(WIDTH), *FLAT),
    # torch 2.13 ends with a segmentation fault in the backward pass of GroupNorm on channels-last
    # images that need no gradient, so that it gets contiguous ones here.
    function(
        "group norm",
        lambda m, x: m.inner(x.contiguous()),
        ("images", "vectors"),
        inner=lambda: nn.GroupNorm(2, WIDTH),
    ),
]
OTHER_LAYERS = [
    layer("encoder layer", encoder, "sequences"),
    layer("antisymmetric weight", antisymmetric, *FLAT),
    layer("weight norm", lambda: parametrizations.weight_norm(linear()), *FLAT),
    layer("tied weights", tied, *FLAT),
    function(
        "attention",
        attention,
        SEQUENCES,
        inner=lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True),
    ),
    function(
        "attention, time first",
        time_first,
        SEQUENCES,
        inner=lambda: nn.MultiheadAttention(WIDTH, 2),
    ),
    function(
        "lstm",
        lambda m, x: m.inner(x)[0],
        SEQUENCES,
        inner=lambda: nn.LSTM(WIDTH, WIDTH, batch_first=True),
    ),
    function(
        "position table",
        lambda m, x: x + m.inner(torch.arange(STEPS)),
        SEQUENCES,
        inner=lambda: nn.Embedding(STEPS, WIDTH),
    ),
    function(
        "weight used twice",
        lambda m, x: F.linear(m.inner(x), m.inner.weight.t()),
        FLAT,
        inner=linear,
    ),
    function(
        "linear over channels",
        lambda m, x: m.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
        IMAGES,
        inner=linear,
    ),
]

ACTIVATIONS = [
    layer("gelu", nn.GELU, *EVERY),
    layer("tanh", nn.Tanh, *EVERY),
    layer("threshold", lambda: nn.Threshold(0.1, -0.2), *EVERY),
    layer("relu", nn.ReLU, *EVERY),
    function("clamp", lambda m, x: x.clamp(-0.8, 0.9)),
]

# Views


def strides_relied_on(m: Any, x: Tensor) -> Tensor:
    """Reads a convolution's output as it lies in memory for images given in their own order."""
    y = m.inner(x.contiguous())
    _, c, h, w = y.shape
    return y.as_strided(y.shape, (c * h * w, h * w, w, 1))


VIEWS = [
    function("as_strided", strides_relied_on, IMAGES, inner=lambda: nn.Conv2d(WIDTH, WIDTH, 1)),
    function("transposed copy", lambda m, x: x.transpose(0, -1).contiguous().transpose(0, -1)),
    function("transposed samples", lambda m, x: x.mT.contiguous().mT, ("images", "sequences")),
    function("contiguous", lambda m, x: x.contiguous() * 1.1),
]

# Functions of the model's own


class Reversed(torch.autograd.Function):
    """Turns gradients round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return -0.5 * gradient


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


def slope_by_func(m: Any, x: Tensor) -> Tensor:
    return torch.func.grad(lambda z: torch.tanh(m.inner(z)).square().sum())(x)


def slope_by_autograd(m: Any, x: Tensor) -> Tensor:
    with torch.enable_grad():
        z = x if x.requires_grad else x.detach().requires_grad_()
        total = torch.tanh(m.inner(z)).square().sum()
        return torch.autograd.grad(total, z, create_graph=True)[0]


def max_norm(m: Any, x: Tensor) -> Tensor:
    m.inner.weight.data.clamp_(-0.4, 0.4)
    return m.inner(x)


def straight_through(m: Any, x: Tensor) -> Tensor:
    return x + (x.sign() - x).detach()


def sorted_samples(m: Any, x: Tensor) -> Tensor:
    order = x.detach().flatten(1)[:, 0].argsort()
    return m.inner(x[order])[order.argsort()]


def routed(m: Any, x: Tensor) -> Tensor:
    chosen = x.detach().flatten(1)[:, 0] > 0
    out = torch.zeros_like(x)
    out[chosen] = m.inner(x[chosen]).to(x.dtype)
    out[~chosen] = m.other(x[~chosen]).to(x.dtype)
    return out


def in_dtype(dtype: torch.dtype) -> Callable[[Any, Tensor], Tensor]:
    def cast(m: Any, x: Tensor) -> Tensor:
        y = F.linear(x.to(dtype), m.inner.weight.to(dtype), m.inner.bias.to(dtype))
        return y.to(x.dtype)

    return cast


OWN_FUNCTIONS = [
    function("reversed gradient", lambda m, x: Reversed.apply(x)),
    function("cube", lambda m, x: Cube.apply(x.clamp(-1, 1))),
    function("torch.func.grad", slope_by_func, FLAT, inner=linear),
    function("gradient in forward", slope_by_autograd, FLAT, inner=linear),
    function("weights written in forward", max_norm, FLAT, inner=linear),
    function("straight through", straight_through),
    function("sorted samples", sorted_samples, FLAT, inner=linear),
    function("two experts", routed, FLAT, inner=linear, other=linear),
    function("in float32", in_dtype(torch.float32), FLAT, rounding=torch.float32, inner=linear),
    function("in float64", in_dtype(torch.float64), FLAT, inner=linear),
]

# Elements without a per-sample derivative

RANDOM = [
    function("functional dropout", lambda m, x: F.dropout(x, 0.3, training=True), label="random"),
    function("rare dropout", lambda m, x: F.dropout(x, 1e-4, training=True), label="random"),
    function("torch noise", lambda m, x: x + 0.1 * torch.rand_like(x), label="random"),
    function(
        "numpy noise",
        lambda m, x: x * (1 + float(np.random.rand())),  # noqa: NPY002
        label="random",
    ),
    function("python noise", lambda m, x: x + 0.1 * random.random(), label="random"),
    function(
        "noise of its own generator",
        lambda m, x: x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=m.generator),
        label="random",
        generator=torch.Generator,
    ),
]


def within_capacity(m: Any, x: Tensor) -> Tensor:
    """The first two samples that ask for it; none behind them."""
    asks = x.detach().flatten(1)[:, 0] > 0
    kept = asks & (asks.long().cumsum(0) <= 2)
    return x * (1.0 + kept.to(x.dtype)).view(-1, *[1] * (x.dim() - 1))


def by_place(m: Any, x: Tensor) -> Tensor:
    return x * torch.arange(1, 1 + len(x), dtype=x.dtype).view(-1, *[1] * (x.dim() - 1))


MIXING = [
    function("batch mean", lambda m, x: x + 0.5 * x.mean(0), label="mixing"),
    function("detached batch mean", lambda m, x: x - x.detach().mean(0), label="mixing"),
    function("cumsum", lambda m, x: x + 0.3 * x.cumsum(0), label="mixing"),
    function("detached cumsum", lambda m, x: x + 0.3 * x.detach().cumsum(0), label="mixing"),
    function("batch maximum", lambda m, x: x / (0.1 + x.detach().abs().max()), label="mixing"),
    function("rolled", lambda m, x: x + 0.2 * x.roll(1, 0), label="mixing"),
    function("capacity", within_capacity, label="mixing"),
    function("place in the batch", by_place, label="mixing"),
]


# Elements that change from call to call


def decaying(m: Any, x: Tensor) -> Tensor:
    m.inner.weight.data.mul_(0.9)
    return m.inner(x)


def counted(m: Any, x: Tensor) -> Tensor:
    m.calls = getattr(m, "calls", 0) + 1
    return x * (1 + 0.1 * m.calls)


COUNTING = [
    function("decaying weights", decaying, FLAT, "counting", inner=linear),
    function("counted calls", counted, label="counting"),
]
