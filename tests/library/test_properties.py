"""Random layers and random networks against the slow reference."""

from __future__ import annotations

import warnings
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Classified, randomise
from tests.library.comparison import assert_close
from tests.reference import (
    reference_fisher,
    reference_jacobian_by_loop,
    reference_logits,
    spectrum_score,
)
from vkdnw.weights import Selection, select

EPSILON = torch.finfo(torch.float64).eps

few = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@st.composite
def choices(draw: st.DrawFn, model: nn.Module) -> Any:
    """Any way to choose a few hundred scalars of a model."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = sum(sizes.values())
    explicit = {
        name: st.lists(st.integers(0, size - 1), unique=True, min_size=1, max_size=90)
        for name, size in sizes.items()
    }
    ways = [
        st.builds(vkdnw.weights.first, st.integers(1, 12)),
        st.builds(vkdnw.weights.spaced, st.integers(1, 80), st.integers(1, 4)),
        st.builds(vkdnw.weights.random, st.integers(1, min(total, 300)), st.integers(0, 99)),
        st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=4, unique=True).flatmap(
            lambda names: st.fixed_dictionaries({name: explicit[name] for name in names})
        ),
    ]
    if total <= 300:
        ways.append(st.just(vkdnw.weights.every()))
    return draw(st.one_of(ways))


def compare(model: nn.Module, x: Tensor, weights: Any, options: dict[str, Any]) -> None:
    """Jacobian, Fisher matrix, eigenvalues and score against the reference, in float64."""
    selection = select(model, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error", vkdnw.FallbackWarning)  # every layer here has a rule
        jacobian = vkdnw.jacobian(model, x, weights=weights)
        matrix = vkdnw.fisher(model, x, weights=weights, **options)
    expected = reference_jacobian_by_loop(model, x, selection)
    assert_close(jacobian, expected, selection, 1e-11, floor=1e-13)
    if not matrix.any():
        with pytest.raises(vkdnw.ZeroFisherError):
            vkdnw.score(model, x, weights=weights, **options)
        return
    score = vkdnw.score(model, x, weights=weights, **options)
    fisher = reference_fisher(expected, reference_logits(model, x), **options)
    size = max(float(fisher.abs().max()), EPSILON)  # derivatives may cancel to rounding
    torch.testing.assert_close(matrix, fisher, rtol=1e-9, atol=1e-12 * size)
    reference = spectrum_score(fisher)
    rounding = 1e-13 * max(float(reference.eigenvalues.max()), size)
    torch.testing.assert_close(score.eigenvalues, reference.eigenvalues, rtol=1e-9, atol=rounding)
    torch.testing.assert_close(score.deciles, reference.deciles, rtol=1e-9, atol=rounding)
    if float(reference.deciles.sum()) > 1e4 * rounding:  # else rounding decides the reference
        assert abs(score.vkdnw - reference.vkdnw) < 1e-3


fisher_options = st.fixed_dictionaries(
    {
        "convention": st.sampled_from(["fisher", "released"]),
        "smoothing": st.sampled_from([0.05, 0.2, 0.5]),
    }
)


# ---- convolutions ------------------------------------------


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A convolution of any kind and the shape of an image it takes."""
    axes = draw(st.integers(1, 3))
    per_axis = lambda values: st.tuples(*[values] * axes)  # noqa: E731
    kernel = draw(per_axis(st.integers(1, 3)))
    dilation = draw(per_axis(st.integers(1, 2)))
    mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
    padding: Any = draw(st.sampled_from(["same", "valid", "number"]))
    stride = (1,) * axes
    if padding != "same":
        stride = draw(per_axis(st.integers(1, 3)))
    if padding == "number":
        padding = draw(per_axis(st.integers(0, 2)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    channels = (groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    # Reflection and circular padding need images larger than the padding on each side.
    image = tuple(max(size, 3) + draw(st.integers(0, 2)) for size in reach)
    layer = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](
        *channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=mode,
    )
    return layer, (channels[0], *image)


@few
@given(convolutions(), st.integers(1, 5), st.integers(0, 99), st.data(), fisher_options)
def test_convolutions(
    drawn: tuple[nn.Module, tuple[int, ...]],
    samples: int,
    seed: int,
    data: st.DataObject,
    options: dict[str, Any],
) -> None:
    layer, shape = drawn
    torch.manual_seed(seed)
    x = torch.randn(samples, *shape, dtype=torch.float64)
    model = Classified(layer.double(), x, classes=data.draw(st.integers(2, 12), label="classes"))
    randomise(model)
    compare(model.double().eval(), x, data.draw(choices(model), label="weights"), options)


# ---- networks ------------------------------------------


class Residual(nn.Module):
    """``x + body(x)``, in place or not."""

    def __init__(self, body: nn.Module, inplace: bool) -> None:
        super().__init__()
        self.body, self.inplace = body, inplace

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.inplace:
            y += x
            return y
        return y + x


@st.composite
def blocks(draw: st.DrawFn, channels: int) -> nn.Module:
    """A few layers that keep the shape of a map."""
    options: dict[str, Any] = {
        "convolution": lambda: nn.Conv2d(
            channels, channels, 3, padding=1, bias=draw(st.booleans())
        ),
        "pointwise": lambda: nn.Conv2d(channels, channels, 1, bias=draw(st.booleans())),
        "depthwise": lambda: nn.Conv2d(channels, channels, 3, padding="same", groups=channels),
        "norm": lambda: nn.BatchNorm2d(channels, affine=draw(st.booleans())),
        "group norm": lambda: nn.GroupNorm(draw(st.sampled_from([1, channels])), channels),
        "relu": lambda: nn.ReLU(inplace=draw(st.booleans())),
        "relu6": lambda: nn.ReLU6(inplace=draw(st.booleans())),
        "gelu": nn.GELU,
        "pool": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=draw(st.booleans())),
        "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    }
    names = draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=5), label="layers")
    return nn.Sequential(*(options[name]() for name in names))


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Stem, blocks with and without a skip connection, reduction, classifier."""
    channels, classes = draw(st.sampled_from([2, 3, 4])), draw(st.integers(2, 12))
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels)]
    for _ in range(draw(st.integers(1, 3))):
        body = draw(blocks(channels))
        skip = draw(st.booleans())
        layers.append(Residual(body, draw(st.booleans())) if skip else body)
    if draw(st.booleans()):
        layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        channels *= 2
    layers += [nn.AdaptiveAvgPool2d(draw(st.integers(1, 2))), nn.Flatten(), nn.LazyLinear(classes)]
    return nn.Sequential(*layers)


def overwrites_what_it_needs(model: nn.Module, x: Tensor) -> bool:
    """Whether the model writes in place into a value that a derivative needs: autograd refuses it
    too."""
    try:
        model(x).sum().backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    finally:
        model.zero_grad()
    return False


@few
@given(networks(), st.integers(1, 7), st.integers(0, 99), st.data(), fisher_options)
def test_networks(
    model: nn.Module, samples: int, seed: int, data: st.DataObject, options: dict[str, Any]
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(samples, 3, 6, 6, dtype=torch.float64)
    model = model.double().eval()
    model(x)  # makes the classifier
    randomise(model)
    assume(not overwrites_what_it_needs(model, x))
    compare(model, x, data.draw(choices(model), label="weights"), options)


# ---- sequences ------------------------------------------


@st.composite
def token_models(draw: st.DrawFn) -> nn.Module:
    """Embedding, normalised linear layers over positions, mean, classifier."""
    width = draw(st.integers(2, 6))
    padding = draw(st.sampled_from([None, 0, -1]))
    layers: list[nn.Module] = [nn.Embedding(5, width, padding_idx=padding)]
    for _ in range(draw(st.integers(0, 2))):
        outputs = draw(st.integers(2, 9))
        layers += [
            nn.LayerNorm(width, elementwise_affine=draw(st.booleans()), eps=0.1),
            nn.Linear(width, outputs, bias=draw(st.booleans())),
            draw(st.sampled_from([nn.Tanh(), nn.GELU(), nn.ReLU(inplace=True)])),
        ]
        width = outputs
    layers += [nn.Flatten(), nn.LazyLinear(draw(st.integers(2, 12)))]
    return nn.Sequential(*layers)


@few
@given(token_models(), st.integers(1, 6), st.integers(1, 4), st.data(), fisher_options)
def test_token_models(
    model: nn.Module, samples: int, length: int, data: st.DataObject, options: dict[str, Any]
) -> None:
    torch.manual_seed(samples)
    tokens = torch.randint(5, (samples, length))
    model = model.double().eval()
    model(tokens)
    randomise(model)
    compare(model, tokens, data.draw(choices(model), label="weights"), options)


# ---- budgets ------------------------------------------


@few
@given(networks(), st.integers(2, 9), st.integers(1, 20), st.data())
def test_any_budget_gives_the_same(
    model: nn.Module, samples: int, share: int, data: st.DataObject
) -> None:
    torch.manual_seed(samples)
    x = torch.randn(samples, 3, 6, 6, dtype=torch.float64)
    model = model.double().eval()
    model(x)
    randomise(model)
    assume(not overwrites_what_it_needs(model, x))
    weights = data.draw(choices(model), label="weights")
    selection: Selection = select(model, weights)
    expected = vkdnw.jacobian(model, x, weights=weights)
    try:
        found = vkdnw.jacobian(model, x, weights=weights, max_memory=share * 20_000)
    except MemoryError:
        assume(False)
    assert_close(found, expected, selection, 1e-10, floor=1e-13)
