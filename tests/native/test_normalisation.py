"""vkdnw.ops.batch_norm against automatic differentiation in float64; refusals by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.batch_norm import (
    Summand,
    batch_norm_coefficients,
    batch_norm_factors,
    batch_norm_input_gradient,
    batch_norm_statistics,
    channel_moments,
    load,
    normalised_sum,
)
from vkdnw.ops.pooling import avg_pool3x3
from vkdnw.ops.relu import relu_mask

EPS = 1e-5
ROUNDINGS = 32 * torch.finfo(torch.float32).eps
"""Of a number: sixteen in a run of float32 sums, and a few of the operations on it; doubled."""
SHAPES = [(2, 16, 1, 1), (1, 16, 1, 2), (3, 48, 5, 7), (2, 144, 3, 3), (7, 16, 16, 16)]

each_shape = pytest.mark.parametrize("shape", SHAPES)


def nhwc(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


class Case(NamedTuple):
    """A feature map, the parameters of its BatchNorm, and a gradient of its output."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    grad: Tensor

    def statistics(self) -> Tensor:
        return batch_norm_statistics(self.x, EPS)

    def factors(self) -> Tensor:
        return batch_norm_factors(channel_moments(self.x), EPS, self.weight, self.bias)[1]

    def normalised(self) -> Tensor:
        return normalised_sum([Summand(self.x, self.factors())])[0]

    def coefficients(self) -> Tensor:
        return batch_norm_coefficients(self.grad, self.x, self.statistics(), self.weight)[0]


def make_case(shape: tuple[int, ...], mean: float = 1.0) -> Case:
    rng = torch.Generator().manual_seed(0)
    channels = shape[1]
    x = nhwc(mean + 2 * torch.randn(shape, generator=rng))
    weight, bias = torch.randn(2, channels, generator=rng)
    return Case(x, weight, bias, nhwc(torch.randn(shape, generator=rng)))


def by_autograd(case: Case) -> tuple[Tensor, ...]:
    """The result and the gradients of x, weight and bias, in float64."""
    leaves = [tensor.double().requires_grad_() for tensor in case[:3]]
    y = F.batch_norm(leaves[0], None, None, *leaves[1:], training=True, eps=EPS)
    return y.detach(), *torch.autograd.grad(y, leaves, case.grad.double())


def by_channel(numbers: Tensor) -> Tensor:
    return numbers.view(1, -1, 1, 1)


def centred(case: Case) -> tuple[Tensor, Tensor]:
    """(x - mean) / deviation and 1 / deviation, float64."""
    variance, mean = torch.var_mean(case.x.double(), (0, 2, 3), correction=0, keepdim=True)
    inverse = 1 / (variance + EPS).sqrt()
    return (case.x.double() - mean) * inverse, inverse


@each_shape
def test_forward_agrees_with_float64(shape: tuple[int, ...]) -> None:
    case = make_case(shape)
    units, _ = centred(case)
    origin = units[:1, :, :1, :1].abs()  # of the sums: the first pixel
    scale = by_channel(case.weight.abs()) * (1 + units.abs()) * (1 + origin) ** 2
    error = (case.normalised().double() - by_autograd(case)[0]).abs()
    assert (error <= ROUNDINGS * (scale + by_channel(case.bias.abs()))).all()


@each_shape
def test_gradients_agree_with_float64(shape: tuple[int, ...]) -> None:
    case = make_case(shape)
    _, of_x, of_weight, of_bias = by_autograd(case)
    coefficients, parameters = batch_norm_coefficients(
        case.grad, case.x, case.statistics(), case.weight
    )
    units, inverse = centred(case)
    grad = case.grad.double().abs()
    products = (grad * units.abs()).mean((0, 2, 3), keepdim=True)
    size = grad + grad.mean((0, 2, 3), keepdim=True) + (1 + units.abs()) * products
    found = batch_norm_input_gradient(case.grad, case.x, coefficients)
    bound = ROUNDINGS * by_channel(case.weight.abs()) * inverse * size
    assert ((found.double() - of_x).abs() <= bound).all()
    count = case.x.numel() / shape[1]
    assert ((parameters[0] - of_weight).abs() <= ROUNDINGS * count * products.flatten()).all()
    sums = grad.sum((0, 2, 3))
    assert ((parameters[1] - of_bias).abs() <= ROUNDINGS * sums).all()


def test_without_parameters() -> None:
    case = make_case((3, 16, 4, 5))
    ones, zeros = torch.ones(16), torch.zeros(16)
    moments, statistics = channel_moments(case.x), case.statistics()
    for found, expected in zip(
        batch_norm_factors(moments, EPS, None, None),
        batch_norm_factors(moments, EPS, ones, zeros),
        strict=True,
    ):
        assert torch.equal(found, expected)
    for found, expected in zip(
        batch_norm_coefficients(case.grad, case.x, statistics, None),
        batch_norm_coefficients(case.grad, case.x, statistics, ones),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_a_large_mean_costs_only_what_rounding_the_input_costs() -> None:
    """Spacings at 3e4 are 2^-9 of a deviation of 1; naive sums of squares would lose it all."""
    case = make_case((8, 16, 8, 8), mean=3e4)
    expected = by_autograd(case)[0]
    scale = by_channel(case.weight.abs())
    assert ((case.normalised() - expected).abs() <= 2.0**-8 * scale).all()


def test_what_is_constant_has_no_variance() -> None:
    x = nhwc(torch.full((2, 16, 3, 3), 0.1))
    statistics = batch_norm_statistics(x, EPS)
    assert torch.equal(statistics[0], torch.full((16,), 0.1).double())
    assert torch.equal(statistics[1], torch.full((16,), EPS, dtype=torch.float64) ** -0.5)


@each_shape
def test_a_sum_is_that_of_its_parts_from_left_to_right(shape: tuple[int, ...]) -> None:
    """To the bit, wherever maps are added as they are, with the mask of the ReLU that reads it."""
    case = make_case(shape)
    norm, plain = Summand(case.x, case.factors()), Summand(case.grad)
    pooled = Summand(case.grad, pooled=True)
    x, y, z = case.normalised(), case.grad, avg_pool3x3(case.grad)
    for summands, expected in (
        ([plain, norm], y + x),
        ([norm, plain, norm], (x + y) + x),
        ([plain, plain, norm], (y + y) + x),
        ([norm, norm, plain], (x + x) + y),
        ([plain], y),
        ([plain, plain], y + y),
        ([pooled], z),
        ([norm, pooled, plain], (x + z) + y),
        ([pooled, plain, pooled], (z + y) + z),
    ):
        total, mask = normalised_sum(summands)
        assert total.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(total, expected)
        assert torch.equal(mask, relu_mask(expected))


def test_what_is_not_finite_reaches_its_channel() -> None:
    case = make_case((2, 16, 3, 3))
    case.x[1, 5, 2, 0] = torch.nan
    reached = case.normalised().isnan()
    assert reached[:, 5].all()
    assert reached.sum() == reached[:, 5].numel()


def test_any_thread_count_gives_the_same_bits() -> None:
    """The sizes are large enough for both threads to get work."""
    case = make_case((9, 16, 40, 40))

    def results() -> list[Tensor]:
        coefficients = case.coefficients()
        return [
            case.statistics(),
            case.normalised(),
            normalised_sum([Summand(case.grad, pooled=True), Summand(case.x, case.factors())])[1],
            coefficients,
            batch_norm_input_gradient(case.grad, case.x, coefficients),
        ]

    one, two = on_one_and_two_threads(results)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)


def test_opcheck() -> None:
    load()
    case, ops = make_case((2, 16, 4, 5)), torch.ops.vkdnw
    statistics = case.statistics()
    norm = case.grad, case.x, case.coefficients()
    for op, arguments in {
        ops.channel_moments: (case.x,),
        ops.batch_norm_factors: (channel_moments(case.x), EPS, case.weight, None),
        ops.normalised_sum: ([case.grad, case.x], [torch.empty(0), case.factors()], [0]),
        ops.batch_norm_coefficients: (case.grad, case.x, statistics, case.weight),
        ops.batch_norm_input_gradient: norm,
    }.items():
        torch.library.opcheck(op, arguments)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x", lambda x: x[0], r"x has 3 dimensions, not 4: \[B, C, H, W\]"),
        ("x", lambda x: x.contiguous(), r"x is not channels_last; call x\.contiguous"),
        ("x", lambda x: x.double(), "x is Double, not float32"),
        ("x", lambda x: nhwc(x[:, :8]), "x has 8 channels; they must be a multiple of 16"),
        ("x", lambda x: x[:1, :, :1, :1], "x has 1 numbers in a channel, and a variance takes"),
        ("grad", lambda g: g[:1], "grad has size 1 and x 2 in dimension 0"),
        ("grad", lambda g: g.contiguous(), "grad is not channels_last"),
        ("statistics", lambda s: s.float(), "statistics is not what batch_norm_statistics returns"),
        ("statistics", lambda s: s.T.contiguous(), "statistics is not what .* for 16 channels"),
        ("weight", lambda w: w[:8], "weight has 8 numbers for 16 channels"),
        ("weight", lambda w: w.double(), "weight is Double, not float32"),
    ],
)
def test_refuses_by_name_with_the_remedy(
    name: str, change: Callable[[Tensor], Tensor], message: str
) -> None:
    case = make_case((2, 16, 4, 5))
    arguments = {
        "grad": case.grad,
        "x": case.x,
        "statistics": case.statistics(),
        "weight": case.weight,
    }
    arguments[name] = change(arguments[name])
    with pytest.raises(ValueError, match=message):
        batch_norm_coefficients(**arguments)


def test_refuses_coefficients_of_other_layers() -> None:
    case = make_case((2, 16, 4, 5))
    with pytest.raises(ValueError, match="coefficients is not what batch_norm_coefficients"):
        batch_norm_input_gradient(case.grad, case.x, case.coefficients()[:2])


def test_refuses_sums_of_what_does_not_fit() -> None:
    case = make_case((2, 16, 4, 5))
    for summands, message in (
        ([], "summands is empty; there is at least one map to add"),
        ([Summand(case.x), Summand(case.x[:1])], r"maps has size 1 and maps\[0\] 2 in dimension 0"),
        ([Summand(case.x.contiguous())], "x is not channels_last"),
        ([Summand(case.x[:, :, :0])], r"maps\[0\] has no pixels"),
        (
            [Summand(case.x, case.factors()[:2])],
            "factors is not what batch_norm_factors",
        ),
        (
            [Summand(case.x, case.factors().double())],
            "factors is not what batch_norm_factors",
        ),
        ([Summand(case.x, case.factors(), True)], "map 0 is pooled and has factors; a map is"),
    ):
        with pytest.raises(ValueError, match=message):
            normalised_sum(summands)
    with pytest.raises(ValueError, match="moments is not what channel_moments returns"):
        batch_norm_factors(channel_moments(case.x).float(), EPS, None, None)
