"""float32 with its fused and native paths, half precisions, and models that mix dtypes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Case, forward, images, linears, normal, vectors
from tests.library.cases.networks import NETWORKS, pre_activation_network, residual_network
from tests.library.comparison import assert_close, columns_of
from tests.reference import reference_jacobian_by_loop
from vkdnw.weights import select

SINGLE = torch.finfo(torch.float32).eps


def convolution(inputs: int, outputs: int, kernel: int, **options: Any) -> nn.Module:
    """ReLU, convolution and BatchNorm between two others, as in a network's middle."""
    return nn.Sequential(
        nn.Conv2d(3, inputs, 3, padding=1),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, **options),
        nn.BatchNorm2d(outputs),
        nn.Softplus(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * outputs, 3),
    )


def scaled(model: nn.Module, scales: list[float], shift: float) -> nn.Module:
    """The BatchNorm in the middle, with scales and shifts that fold badly."""
    with torch.no_grad():
        model[4].weight[: len(scales)] = torch.tensor(scales)
        model[4].bias.fill_(shift)
    return model


class Gated(nn.Module):
    """Looks at the values between fused layers, outside the graph."""

    def __init__(self, behind: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 3)
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        seen = {}
        seen["relu"] = self.relu(self.stem(x))
        seen["conv"] = self.conv(seen["relu"])
        seen["norm"] = self.norm(seen["conv"])
        gate = seen[self.behind].detach().mean((1, 2, 3))[:, None]
        return self.head(F.softplus(seen["norm"]).mean((2, 3))) * gate


def replaced_forwards(model: nn.Module) -> nn.Module:
    """Layers whose ``forward`` the caller has replaced on the object."""
    pool, relu, conv, norm = model[3], model[2].first[0], model[2].first[1], model[2].first[2]
    pool.forward = lambda x: 2 * F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    relu.forward = F.softplus
    # Bound, so that a copy of the model calls the copy's.
    conv.forward = MethodType(lambda conv, x: F.conv2d(x, 3 * conv.weight, padding=1), conv)
    norm.forward = MethodType(lambda norm, x: x + norm.weight[:, None, None], norm)
    return model


FUSED = [
    Case("winograd", partial(convolution, 16, 16, 3, padding=1), images),
    Case("winograd, wide", partial(convolution, 32, 48, 3, padding=1, bias=False), images),
    Case("winograd, same", partial(convolution, 16, 16, 3, padding="same"), images),
    Case("winograd, odd sizes", partial(convolution, 16, 16, 3, padding=1), normal(5, 3, 7, 9)),
    Case("pointwise", partial(convolution, 16, 32, 1), images),
    Case("strided", partial(convolution, 16, 16, 3, padding=1, stride=2), images),
    Case("grouped", partial(convolution, 16, 16, 3, padding=1, groups=2), images),
    Case("reflected", partial(convolution, 16, 16, 3, padding=1, padding_mode="reflect"), images),
    Case("12 channels", partial(convolution, 12, 20, 3, padding=1), images),
    *(
        Case(
            f"scales {scales}, shift {shift}",
            partial(convolution, 16, 16, 3, padding=1),
            images,
            settled=lambda model, scales=scales, shift=shift: scaled(model, scales, shift),
        )
        for scales in ([0.0, 1e-30], [1e-3, -2.0], [-1e-2, 30.0])
        for shift in (0.5, 0.0)
    ),
    Case("pre-activation network", partial(pre_activation_network, 16), images),
    Case(
        "pre-activation network in place", partial(pre_activation_network, 16, True, True), images
    ),
    Case("residual network", partial(residual_network, 16), images),
    *(
        Case(f"a gate behind {part}", partial(Gated, part), images)
        for part in ("relu", "conv", "norm")
    ),
    Case(
        "replaced forwards",
        partial(pre_activation_network, 16),
        images,
        settled=replaced_forwards,
    ),
]


def no_relu_changes_sign(case: Case) -> bool:
    """Whether float32 decides every ReLU as float64 does; else their derivatives are others'."""
    signs: dict[torch.dtype, list[Tensor]] = {}
    for dtype in (torch.float32, torch.float64):
        model = case.model(dtype)
        found = signs.setdefault(dtype, [])
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda _, args, out, to=found: to.append(out > 0))
        model(case.batch(dtype))
    return all(map(torch.equal, signs[torch.float32], signs[torch.float64]))


@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
def test_float32_is_right_to_its_rounding(case: Case) -> None:
    # Rounding of a dozen layers and of sums over positions; a few hundred roundings of the largest
    # derivative of the parameter, whatever is folded, fused or computed by Winograd's algorithm.
    assert no_relu_changes_sign(case), "draw other weights: this comparison means nothing"
    model = case.model()
    whole = select(model, vkdnw.weights.every())
    expected = reference_jacobian_by_loop(model, case.batch(), whole)
    for weights in (vkdnw.weights.first(), vkdnw.weights.spaced(20), vkdnw.weights.every()):
        found = vkdnw.jacobian(
            case.model(torch.float32), case.batch(torch.float32), weights=weights
        )
        assert found.dtype == torch.float32
        part = select(model, weights)
        columns = columns_of(part, whole)
        assert_close(found.double(), expected[:, :, columns], part, 300 * SINGLE)


@pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
def test_a_choice_of_few_layers_is_right_as_well(case: Case) -> None:
    # Layers that own no chosen scalar are fused too, and must not be taken for others.
    model = case.model()
    names = [name for name, _ in model.named_parameters()]
    three = {name: [0] for name in (names[0], names[len(names) // 2], names[-1])}
    whole = select(model, three)
    expected = reference_jacobian_by_loop(model, case.batch(), whole)
    for name in three:
        part = select(model, {name: [0]})
        found = vkdnw.jacobian(
            case.model(torch.float32), case.batch(torch.float32), weights={name: [0]}
        )
        columns = columns_of(part, whole)
        assert_close(found.double(), expected[:, :, columns], part, 300 * SINGLE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
def test_half_precision_is_near(case: Case, dtype: torch.dtype) -> None:
    model, batch = case.model(), case.batch()
    expected = vkdnw.jacobian(model, batch)
    found = vkdnw.jacobian(model, batch, dtype=dtype)
    assert found.dtype == torch.float32
    error = (found.double() - expected).norm() / expected.norm()
    assert error < (0.2 if dtype == torch.bfloat16 else 0.05)
    assert torch.isfinite(vkdnw.score(model, batch, dtype=dtype).eigenvalues).all()


# ---- models that mix dtypes ------------------------------------------


def head_in_single(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.tanh(m.trunk(x)).float())


def logits_in_double(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.tanh(m.trunk(x))).double()


def norm_in_single(m: Any, x: Tensor) -> Tensor:
    return m.head(F.relu(m.norm(m.trunk(x).float())).to(x.dtype))


def autocast_inside(m: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return m.head(m.norm(torch.tanh(m.trunk(x)))).float()


def mixed(name: str, run: Callable[..., Any], dtype: torch.dtype, *single: str) -> Any:
    """A model in a dtype, with some parts in float32."""

    def settle(model: nn.Module) -> None:
        model.to(dtype)
        for part in single:
            getattr(model, part).float()

    def parts() -> dict[str, Any]:
        return {**linears(trunk=(4, 4), head=(4, 3))(), "norm": nn.LayerNorm(4)}

    return pytest.param(forward(name, run, vectors, parts), settle, dtype, id=name)


@pytest.mark.parametrize(
    ("case", "settle", "dtype"),
    [
        mixed("bfloat16 with a float32 head", head_in_single, torch.bfloat16, "head"),
        mixed("float32 with float64 logits", logits_in_double, torch.float32),
        mixed("bfloat16 with a float32 norm", norm_in_single, torch.bfloat16, "norm"),
        mixed("autocast inside", autocast_inside, torch.float32),
    ],
)
@pytest.mark.parametrize("weights", [vkdnw.weights.first(), vkdnw.weights.every()])
@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
def test_mixed_dtypes(
    case: Case, settle: Callable[[nn.Module], None], dtype: torch.dtype, weights: Any
) -> None:
    model = case.model(torch.float32)
    settle(model)
    batch = case.batch(dtype)
    selection = select(model, weights)
    expected = reference_jacobian_by_loop(model, batch, selection).double()
    found = vkdnw.jacobian(model, batch, weights=weights).double()
    # Half precision rounds the values between autograd's layers just as it does here.
    halves = dtype == torch.bfloat16 or "autocast" in case.name
    assert_close(found, expected, selection, 0.03 if halves else 100 * SINGLE)
