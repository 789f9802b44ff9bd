"""Several cotangents in one backward pass, as on a GPU, give the gradients of one at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases import CASES
from tests.library.cases.case import Case
from tests.library.cases.networks import residual_network
from tests.library.comparison import assert_close
from vkdnw.per_sample.reverse_mode import batched_vjp as together
from vkdnw.per_sample.reverse_mode import chunk as reverse
from vkdnw.weights import select

pytestmark = [
    pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning"),
    pytest.mark.filterwarnings("ignore:Using padding='same'"),
    pytest.mark.filterwarnings("ignore:.*is deprecated"),
]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes the CPU take three cotangents at a time; the numbers of cotangents that went so."""
    taken: list[int] = []

    def counted(logits: Tensor, edges: list, cotangents: Tensor) -> list[Tensor | None]:
        found = together.batched_vjp(logits, edges, cotangents)
        taken.append(len(cotangents))
        return found

    monkeypatch.setitem(together.AT_ONCE, "cpu", 3)
    monkeypatch.setattr(reverse, "batched_vjp", counted)
    return taken


# Models whose parameters all go to the fallback, one sample and one cotangent at a time.
ALL_FALLBACK = {
    *("1 images one by one", "2 images one by one", "5 images one by one"),
    *("a mixture of experts", "a mixture that calls every expert", "a mixture of many samples"),
    *("a path that few samples take", "a second use that few samples make"),
    *("a call that few samples drop", "micro-batches", "a batch turned round", "a scripted model"),
}
SEVERAL = [case for case in CASES if case.name not in ALL_FALLBACK]


@pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
def test_the_jacobian_stays(case: Case, passes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = case.model(), case.batch()
    options = {"weights": vkdnw.weights.spaced(3), "output": case.output}
    found = vkdnw.jacobian(model, batch, **options)
    assert max(passes) > 1
    monkeypatch.setitem(together.AT_ONCE, "cpu", 1)
    expected = vkdnw.jacobian(model, batch, **options)
    assert_close(found, expected, select(model, options["weights"]))


def test_passes_are_as_few_as_the_limit_allows(passes: list[int]) -> None:
    model = residual_network().double().eval()  # float64 has no native backward on a CPU
    vkdnw.jacobian(model, torch.randn(2, 3, 8, 8, dtype=torch.float64))
    assert passes == [3]  # three logits, of both samples


class OneByOne(torch.autograd.Function):
    """A function that vmap cannot take."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g if float(g.abs().max()) >= 0 else g  # vmap knows no float


def test_an_operation_that_takes_one_cotangent_gets_one(passes: list[int]) -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(OneByOne.apply(self.first(x)))

    model = Squared().double().eval()
    x = torch.randn(3, 5, dtype=torch.float64)
    found = vkdnw.jacobian(model, x)
    assert passes == []
    h = model.first(x)
    expected = 2 * h[:, None, 0] * model.second.weight[:, 0]  # with respect to the first bias
    torch.testing.assert_close(found[:, :, 1], expected)


def test_native_backward_passes_take_one_at_a_time(passes: list[int]) -> None:
    model, x = residual_network(16).eval(), torch.randn(2, 3, 8, 8)
    found = vkdnw.jacobian(model, x)
    assert passes == []
    expected = vkdnw.jacobian(model.double(), x.double())
    assert (found - expected).norm() <= 1e-4 * expected.norm()  # float32 through a few layers
    assert passes != []


def test_a_small_budget_lowers_the_number(passes: list[int]) -> None:
    model, x = residual_network().double().eval(), torch.randn(2, 3, 8, 8).double()
    with pytest.raises(MemoryError, match="one needs about") as refusal:
        vkdnw.jacobian(model, x, max_memory=3000)
    one_sample = int(str(refusal.value).split("one needs about ")[1].split()[0])
    expected = vkdnw.jacobian(model, x)
    assert passes == [3]  # three logits, of both samples
    for budget, taken in ((one_sample, []), (7 * one_sample // 4, [2, 1, 2, 1])):
        passes.clear()
        found = vkdnw.jacobian(model, x, max_memory=budget)
        assert passes == taken
        assert_close(found, expected, select(model, vkdnw.weights.DEFAULT))
