"""Forward mode equals the slow reference on every case, or says why it cannot be had."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases import CASES
from tests.library.cases.case import Case, Forward
from tests.library.cases.networks import residual_network
from tests.library.comparison import (
    assert_close,
    columns_of,
    expected_jacobian,
    smallest_budget,
)
from tests.library.test_golden import GOLDEN_CASES, OPTIONS, golden, relative
from tests.shared import golden_cases
from vkdnw.per_sample.forward_mode import chunk as forward
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.spaces import nb201
from vkdnw.weights import select

ANOTHER_PATH = "forward and reverse mode disagree: .* for "

# Operations without a forward derivative in torch, or that mix samples, are refused by name.
REFUSED = {
    "embedding with max_norm": "embedding_renorm_",
    "embedding with scale_grad_by_freq": "disagree: .* for layer.weight",
    "embedding bag, sum": "_embedding_bag",
    "embedding bag, mean": "_embedding_bag",
    "embedding bag, max": "_embedding_bag",
    "bare parameters, custom function": "custom autograd.Function",
    "weight norm": "_weight_norm_interface",
    "weight norm by hook": "_weight_norm_interface",
    "a mixture of experts": ANOTHER_PATH,
    "a mixture of many samples": ANOTHER_PATH,
    "a path that few samples take": ANOTHER_PATH,
    "a second use that few samples make": ANOTHER_PATH,
    "a call that few samples drop": ANOTHER_PATH,
    "buffers that change": "in-place operation",
    "micro-batches": ANOTHER_PATH,
    "a scripted model": "Jitted",
}


def in_forward_mode(case: Case, model: nn.Module, weights: object) -> Tensor:
    return vkdnw.jacobian(model, case.batch(), weights=weights, output=case.output, mode="forward")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in REFUSED], ids=lambda case: case.name
)
def test_jacobian_is_exact(case: Case) -> None:
    model = case.model()
    whole = select(model, vkdnw.weights.every())
    expected = expected_jacobian(case, model, whole)
    few = vkdnw.weights.random(min(len(whole), 64), seed=0)
    for weights in (vkdnw.weights.spaced(3), few):
        part = select(model, weights)
        found = in_forward_mode(case, model, weights)
        assert_close(found, expected[:, :, columns_of(part, whole)], part)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in REFUSED], ids=lambda case: case.name
)
def test_what_cannot_be_had_is_refused_by_name(case: Case) -> None:
    with pytest.raises(ValueError, match=f"mode='forward': .*({REFUSED[case.name]}).*'reverse'"):
        in_forward_mode(case, case.model(), vkdnw.weights.every())


# ---- golden values ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", golden_cases(*GOLDEN_CASES))
def test_golden_jacobian(name: str) -> None:
    case = golden(name, "bn_override")
    jacobian = vkdnw.jacobian(case.model, case.images, mode="forward")
    scale = case.arrays["J"].abs().amax((0, 1))
    difference = (jacobian - case.arrays["J"]).abs().amax((0, 1))
    assert (difference <= 1e-9 * scale).all(), (difference / scale).max()


@pytest.mark.parametrize("kind", OPTIONS)
def test_golden_fisher_matrix(kind: str) -> None:
    case = golden("s4_one_conv", "bn_override")
    matrix = vkdnw.fisher(case.model, case.images, mode="forward", **OPTIONS[kind])
    assert relative(matrix, case.arrays[f"fim_{kind}"]) <= 1e-6


# ---- the choice ---------------------------------------------------------------------------------


def network(classes: int) -> nn.Module:
    model = nb201.build(CELL, 4, 1, classes)
    vkdnw.initialise(model, seed=0)
    return model.eval()


CELL = "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"


def images(samples: int = 3) -> Tensor:
    return torch.randn(samples, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("classes", "mode"), [(5, "reverse"), (500, "forward")])
def test_many_classes_go_forward(classes: int, mode: str) -> None:
    score = vkdnw.score(network(classes), images())
    assert score.mode == mode
    assert re.fullmatch(r"tangents cost \d+ backward passes, and .* \d+", score.mode_reason)


def test_both_modes_give_one_score() -> None:
    model = network(40).double()
    reverse, found = (
        vkdnw.score(model, images().double(), mode=mode) for mode in ("reverse", "forward")
    )
    assert (reverse.mode, found.mode) == ("reverse", "forward")
    assert reverse.mode_reason == found.mode_reason == "asked for"
    # Two Jacobians that differ by rounding; the spectrum keeps that of its largest values.
    torch.testing.assert_close(
        found.eigenvalues, reverse.eigenvalues, rtol=1e-9, atol=1e-12 * reverse.eigenvalues.max()
    )


def test_in_float32_both_modes_agree_to_its_rounding() -> None:
    model = network(12)
    selection = select(model, vkdnw.weights.first())
    reverse, found = (vkdnw.jacobian(model, images(), mode=m) for m in ("reverse", "forward"))
    assert found.dtype == torch.float32
    assert_close(found, reverse, selection, tolerance=1e-4)  # 1e-7, over thirty layers of sums


class Bag(nn.Module):
    """An operation that torch has no forward derivative of, under a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(7, 3)
        self.head = nn.Linear(3, 200)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.bag(tokens))
        return logits


class Stopped(nn.Module):
    """``torch.no_grad`` stops gradients and no tangents."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 200)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x)
        with torch.no_grad():
            gate = hidden.sigmoid()
        logits: Tensor = self.head(gate * hidden)
        return logits


@pytest.mark.parametrize(
    ("build", "batch", "reason"),
    [
        (Bag, lambda: torch.arange(6).view(2, 3), "_embedding_bag"),
        (Stopped, lambda: torch.randn(2, 5), "disagree: .* for inner.weight"),
    ],
)
def test_auto_falls_back_to_reverse_and_says_why(
    build: Callable[[], nn.Module], batch: Callable[[], Tensor], reason: str
) -> None:
    torch.manual_seed(0)
    model, batched = build().eval(), batch()
    score = vkdnw.score(model, batched)
    assert score.mode == "reverse"
    assert re.search(f"forward mode is not available: .*{reason}", score.mode_reason)
    assert score.vkdnw == vkdnw.score(model, batched, mode="reverse").vkdnw


def test_a_model_that_moves_itself_has_no_forward_mode() -> None:
    """As routers of experts do; with tangents, torch would end the process."""

    def run(m: nn.Module, x: Tensor) -> Tensor:
        return m.fc(torch.tanh(m.first.to(x.dtype)(x)))

    model = Forward(run, first=nn.Linear(4, 4), fc=nn.Linear(4, 40)).eval()
    with pytest.raises(ValueError, match=r"module\.to"):
        vkdnw.jacobian(model, torch.randn(3, 4), mode="forward")
    assert vkdnw.score(model, torch.randn(3, 4)).mode == "reverse"


def weight_of_one_axis() -> nn.Module:
    first = nn.Linear(4, 1)
    first.weight, first.bias = nn.Parameter(torch.randn(4)), None
    return Forward(lambda m, x: m.fc(torch.tanh(m.first(x)[:, None])), first=first, fc=head(1))


def step_inside() -> nn.Module:
    """A step along a gradient that is taken inside, from which tangents are gone."""

    def run(m: nn.Module, x: Tensor) -> Tensor:
        weight = m.first.weight
        (slope,) = torch.autograd.grad((x @ weight).square().sum(), weight, create_graph=True)
        return m.fc(torch.tanh(x @ (weight - 0 * slope)))

    return Forward(run, first=nn.Linear(4, 4), fc=head(4))


def head(width: int) -> nn.Linear:
    return nn.Linear(width, 60)


@pytest.mark.parametrize("build", [weight_of_one_axis, step_inside])
def test_an_error_in_forward_mode_leaves_reverse_mode(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, batch = build().double().eval(), torch.randn(3, 4).double()
    with pytest.raises(ValueError, match=r"mode='forward': RuntimeError.*mode='reverse'"):
        vkdnw.jacobian(model, batch, mode="forward")
    found = vkdnw.jacobian(model, batch)
    assert torch.equal(found, vkdnw.jacobian(model, batch, mode="reverse"))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode='backward': expected 'auto', 'reverse'"):
        vkdnw.score(network(3), images(), mode="backward")  # type: ignore[arg-type]


# ---- how a batch is cut up ----------------------------------------------------------------------


def test_the_budget_changes_nothing() -> None:
    model, x = residual_network().double().eval(), images(5).double()
    selection = select(model, vkdnw.weights.spaced(3))
    options = {"weights": vkdnw.weights.spaced(3)}
    expected = vkdnw.jacobian(model, x, mode="reverse", **options)
    budget = max(smallest_budget(model, x, **options), expected.nbytes)
    found = vkdnw.jacobian(model, x, mode="forward", max_memory=budget, **options)
    assert_close(found, expected, selection)


def test_convolutions_compute_the_batch_norm_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = forward.fused
    monkeypatch.setattr(
        forward,
        "fused",
        lambda found, folds, *rest: seen.append(len(folds)) or plain(found, folds, *rest),
    )
    model = network(5).double()
    normalised = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    vkdnw.jacobian(model, images().double(), mode="forward")
    # All but the last, which no convolution precedes.
    assert set(seen) == {normalised - 1}


def test_the_command_says_the_mode(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "tests.library.test_forward_mode:many_classes", "--resolution", "16"]
    for mode in ("auto", "reverse"):
        assert run(app, [*arguments, "--batch-size", "2", "--json", "--mode", mode]) == 0
        (line,) = json.loads(capsys.readouterr().out)["rows"]
        assert line["mode"] == {"auto": "forward", "reverse": "reverse"}[mode]
        assert line["mode_reason"]


def many_classes() -> nn.Module:
    return network(500)
