"""A call returns the derivatives of plain autograd, or it refuses the model by name."""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import vkdnw
from tests.library.cases.case import Forward, images, linears, vectors
from tests.library.comparison import assert_close
from tests.reference import reference_jacobian_by_loop
from vkdnw.options import Options
from vkdnw.per_sample.probing.trace import trace_model
from vkdnw.per_sample.problem import prepared
from vkdnw.per_sample.verification import coarsest
from vkdnw.weights import select

pytestmark = [
    pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning"),
    pytest.mark.filterwarnings("ignore::vkdnw.LowRankWarning"),
]


def model(run: Callable[..., Any], **parts: Any) -> nn.Module:
    """Three linear layers, and other parts, in eval mode."""
    torch.manual_seed(0)
    return Forward(run, **linears(first=(4, 4), second=(4, 4), fc=(4, 3))(), **parts).eval()


def wider_later() -> nn.Module:
    late = nn.Conv2d(16, 16, 3, padding=1)
    late.padding, late.dilation = (2, 2), (2, 2)
    return network(late)


def network(late: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), late, *head).eval()


def hooked(m: Any, x: Tensor) -> Tensor:
    h = m.second(torch.tanh(m.first(x)))
    if h.requires_grad:
        h.register_hook(lambda gradient: 0.5 * gradient)
    return m.fc(torch.tanh(h))


def slope_inside(m: Any, x: Tensor) -> Tensor:
    slope = torch.func.grad(lambda z: torch.tanh(m.first(z)).square().sum())(x)
    return m.fc(torch.tanh(slope))


def hooked_and_counted(m: Any, x: Tensor) -> Tensor:
    """A count of calls that moves the logits must not pass for rounding."""
    m.calls = getattr(m, "calls", 0) + 1
    return hooked(m, x) * (1 + 0.1 * m.calls)


def through_an_object(m: Any, x: Tensor) -> Tensor:
    m.context.features = torch.tanh(m.first(x))
    return m.fc(m.context.features)


def shuffled(m: Any, x: Tensor) -> Tensor:
    """Samples in another order, of which autograd sees nothing, while they pass a layer."""
    order = x[:, 0].argsort()
    y = torch.tanh(m.first(x[order]))
    return m.fc(y[order.argsort()])


def distinct(m: Any, x: Tensor) -> Tensor:
    """An operation on the batch that has no derivative; the parameters have theirs."""
    rows, place = torch.unique(x, dim=0, return_inverse=True)
    return m.fc(torch.tanh(m.first(rows)))[place]


def on_a_nested_tensor(m: Any, x: Tensor) -> Tensor:
    nested = torch.nested.as_nested_tensor([row[None] for row in x])
    return m.fc(torch.cat(m.first(nested).unbind()).tanh())


def rounded_out_of_sight(m: Any, x: Tensor) -> Tensor:
    """Casts that no graph shows, and an order of axes that may mix samples."""
    with torch.no_grad():
        rounded = m.second(m.first(x)).float().tanh().to(x.dtype)
    return m.fc(rounded.T.contiguous().T + m.first(x))


@functools.cache
def table(m: Any) -> Tensor:
    """A function of a parameter, kept with its graph outside of the model."""
    return torch.tanh(m.second.weight)


TABLES: dict[nn.Module, Tensor] = {}


def through_a_global(m: Any, x: Tensor) -> Tensor:
    if m not in TABLES:
        TABLES[m] = torch.tanh(m.second.weight)
    return m.fc(torch.tanh(m.first(x)) @ TABLES[m])


RIGHT: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "a convolution that was made wider later": (wider_later, images),
    "a tensor hook on a layer's output": (lambda: model(hooked), vectors),
    "a tensor hook, and a count of calls": (
        lambda: model(hooked_and_counted),
        lambda: vectors()[:1],
    ),
    "a gradient taken inside": (lambda: model(slope_inside), vectors),
    "features in an object": (
        lambda: model(through_an_object, context=SimpleNamespace()),
        lambda: torch.randn(48, 4),
    ),
    "a table that functools.cache keeps": (
        lambda: model(lambda m, x: m.fc(torch.tanh(m.first(x)) @ table(m))),
        vectors,
    ),
    "a table that a global keeps": (lambda: model(through_a_global), vectors),
    "distinct samples": (lambda: model(distinct), vectors),
    "a layer on a nested tensor": (lambda: model(on_a_nested_tensor), vectors),
    "samples in another order": (lambda: model(shuffled), lambda: torch.randn(12, 4)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RIGHT)
def test_is_what_autograd_tells(name: str, dtype: torch.dtype) -> None:
    build, inputs = RIGHT[name]
    net, batch = build().to(dtype), inputs().to(dtype)
    found = vkdnw.jacobian(net, batch)
    selection = select(net, vkdnw.weights.first())
    expected = reference_jacobian_by_loop(net, batch, selection, alone=True)
    assert_close(found, expected, selection, 1e-4 if dtype == torch.float32 else 1e-10)


def test_a_cast_that_no_graph_shows_is_rounding() -> None:
    net = model(rounded_out_of_sight).double()
    batch = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with prepared(net, batch, Options()) as problem:
        assert coarsest(trace_model(problem)) == torch.float32
    selection = select(net, vkdnw.weights.first())
    expected = reference_jacobian_by_loop(net, batch, selection, alone=True)
    assert_close(vkdnw.jacobian(net, batch), expected, selection, 1e-4)


def test_a_hook_on_a_parameter_acts_as_in_autograd() -> None:
    """A copy of the model has no such hook, so a copy may not decide which derivatives are
    right."""
    net, batch = model(lambda m, x: m.fc(torch.tanh(m.first(x)))), vectors()
    without = vkdnw.jacobian(net, batch, weights={"first.weight": [1]})
    net.get_parameter("first.weight").register_hook(lambda gradient: 0.5 * gradient)
    found = vkdnw.jacobian(net, batch, weights={"first.weight": [1]})
    torch.testing.assert_close(found, 0.5 * without)


def scaled_tokens(m: Any, x: Tensor) -> Tensor:
    """Tokens of a map that is channels-last; the scale has no rule."""
    h = m.norm(m.conv(x) * m.scale).contiguous(memory_format=torch.channels_last)
    return m.head(torch.tanh(h.flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("size", [1, 5])
def test_is_right_where_torch_is_wrong_about_a_lone_sample(size: int) -> None:
    """torch 2.13 sums the wrong numbers in the backward pass of BatchNorm for one such image."""
    parts = {"conv": nn.Conv2d(3, 8, 3), "norm": nn.BatchNorm2d(8), "head": nn.Linear(8, 3)}
    net = model(scaled_tokens, **parts, scale=nn.Parameter(torch.ones(8, 1, 1))).double()
    batch = torch.randn(size, 3, 6, 6).double()
    selection = select(net, vkdnw.weights.first())
    expected = reference_jacobian_by_loop(net, torch.cat([batch, batch]), selection)[:size]
    assert_close(vkdnw.jacobian(net, batch), expected, selection)


def before_in_the_batch(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.first(x))
    return m.fc(h + 0.5 * (h.detach().cumsum(0) - h.detach()))


def near_a_threshold(m: Any, x: Tensor) -> Tensor:
    """The mean of the batch turns one sign, of the second sample, and nothing else."""
    return m.fc((x + 0.5 * x.mean(0)).sign())


def checkpoint_in_front(m: Any, x: Tensor) -> Tensor:
    y = checkpoint(torch.tanh, x, use_reentrant=True)
    return m.fc(y + 0 * x.roll(1, 0))


def by_place(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * torch.arange(1.0, 1 + len(x))[:, None])


def statistics_behind_zeros(m: Any, x: Tensor) -> Tensor:
    h = m.first(x)
    return 0 * m.fc(h) + F.linear(h.detach() - h.detach().mean(0), torch.zeros(3, 4))


def dropped_now_and_then(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * (torch.rand(len(x), 1) > 1e-6))


def noise_of_numpy(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) + float(np.random.rand()))  # noqa: NPY002


def own_generator(m: Any, x: Tensor) -> Tensor:
    noise = torch.rand(4, generator=m.generator) > 1e-6
    return m.fc(torch.tanh(m.first(x)) * noise)


def numpy_generator(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * float(m.generator.random()))


def python_generator(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * m.generator.random())


def noise_of_the_system(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * (1 + os.urandom(1)[0] / 256))


def overwritten_input(m: Any, x: Tensor) -> Tensor:
    h = m.first(x)
    x.zero_()
    return m.fc(torch.tanh(h))


def frozen_on_the_way(m: Any, x: Tensor) -> Tensor:
    m.second.requires_grad_(False)
    return m.fc(torch.tanh(m.second(m.first(x))))


def by_size_of_the_batch(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) * (2 if len(x) > 4 else 1))


def in_inference_mode(m: Any, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return m.fc(m.first(x))


def turn_about(m: Any, x: Tensor) -> Tensor:
    """The same numbers every other call."""
    return m.fc(torch.tanh(m.first(x)) * next(m.turns))


KEPT: ContextVar[Any] = ContextVar("KEPT", default=None)


def kept_in_a_context(m: Any, x: Tensor) -> Tensor:
    if KEPT.get() is None:
        KEPT.set(torch.tanh(m.second.weight))
    return m.fc(torch.tanh(m.first(x)) @ KEPT.get())


class Depth(nn.Module):
    """Behaves otherwise in train mode, and draws nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x if self.training else x


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "samples before it in the batch": (lambda: model(before_in_the_batch), ("samples mix",)),
    "its place in the batch": (lambda: model(by_place), ("other samples",)),
    "rare draws": (lambda: model(dropped_now_and_then), ("draws random numbers", "Forward")),
    "numpy's draws": (lambda: model(noise_of_numpy), ("numpy's generator", "model.eval()")),
    "a generator of its own": (
        lambda: model(own_generator, generator=torch.Generator().manual_seed(0)),
        ("torch.Generator", "from call to call"),
    ),
    "a generator of numpy's of its own": (
        lambda: model(numpy_generator, generator=np.random.default_rng(0)),
        ("numpy.random", "of its own", "from call to call"),
    ),
    "a generator of Python's of its own": (
        lambda: model(python_generator, generator=random.Random(0)),
        ("random.Random", "of its own", "from call to call"),
    ),
    "noise that no generator makes": (lambda: model(noise_of_the_system), ("from call to call",)),
    "turn and turn about": (
        lambda: model(turn_about, turns=itertools.cycle([1.0, 2.0])),
        ("from call to call",),
    ),
    "logits without a graph": (
        lambda: model(lambda m, x: m.fc(m.first(x)).detach()),
        ("no autograd graph", "torch.no_grad()"),
    ),
    "a layer in inference mode": (
        lambda: model(in_inference_mode),
        ("no autograd graph", "torch.inference_mode()"),
    ),
    "an input that is overwritten": (
        lambda: model(overwritten_input),
        ("torch.autograd.grad cannot differentiate", "inplace", "set_detect_anomaly"),
    ),
    "weights that forward freezes": (
        lambda: model(frozen_on_the_way),
        ("second.weight", "requires_grad", "weights="),
    ),
    "the size of the batch": (lambda: model(by_size_of_the_batch), ("other samples",)),
    "a graph that a context variable keeps": (
        lambda: model(kept_in_a_context),
        ("of one forward pass", "with its graph"),
    ),
    "a layer in train mode": (
        lambda: nn.Sequential(nn.Linear(4, 4), Depth(), nn.Linear(4, 3)).train(),
        ("1 (Depth)", "train mode", "model.eval()"),
    ),
}


def mixing_where_it_is_near() -> Tensor:
    x = torch.ones(6, 4)
    x[1] = -0.1
    return x


@pytest.mark.parametrize(
    ("run", "batch", "says"),
    [
        (near_a_threshold, mixing_where_it_is_near(), "samples mix: the logits of sample 1"),
        (checkpoint_in_front, torch.ones(6, 4), "use_reentrant=False"),
    ],
)
def test_is_refused_where_two_samples_do_not_tell(
    run: Callable[..., Any], batch: Tensor, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        vkdnw.jacobian(model(run), batch)


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_by_name(name: str) -> None:
    build, says = REFUSED[name]
    with pytest.raises(ValueError, match=r"\w") as raised:
        vkdnw.score(build(), torch.randn(6, 4))
    missing = [part for part in says if part not in str(raised.value)]
    assert not missing, raised.value


def test_a_failure_on_later_samples_is_explained() -> None:
    def bags(m: Any, tokens: Tensor, offsets: Tensor) -> Tensor:
        return m.fc(m.bag(tokens, offsets))

    batch = torch.randint(20, (4,)), torch.arange(4)
    with pytest.raises(ValueError, match=r"failed on one sample.*to compare"):
        vkdnw.score(model(bags, bag=nn.EmbeddingBag(20, 4)), batch)


def test_what_is_drawn_and_never_read_does_no_harm() -> None:
    def draws(m: Any, x: Tensor) -> Tensor:
        torch.rand(())
        return m.fc(torch.tanh(m.first(x)))

    assert vkdnw.score(model(draws), vectors()).fallback == ()


def test_a_difference_is_named_in_the_score_and_in_a_warning() -> None:
    net, batch = model(hooked), vectors()
    with pytest.warns(vkdnw.FallbackWarning, match=r"because .* differ by .* for second\.weight"):
        score = vkdnw.score(net, batch)
    assert "second.weight" in score.fallback_reason
    assert score.fallback == tuple(name for name, _ in net.named_parameters())


def test_deciles_that_the_batch_makes_zero_are_warned_of() -> None:
    net = model(lambda m, x: m.fc(torch.tanh(m.first(x))))
    with pytest.warns(vkdnw.LowRankWarning, match=r"3 x 2 = 6 at most.*use \d+ samples"):
        vkdnw.score(net, torch.randn(3, 4), weights=vkdnw.weights.every())


def test_a_fisher_matrix_of_zeros_is_no_score() -> None:
    net = model(lambda m, x: m.fc(torch.tanh(m.first(x))))
    nn.init.zeros_(net.fc.weight)
    with pytest.raises(vkdnw.ZeroFisherError, match="weights="):
        vkdnw.score(net, vectors(), weights={"first.weight": [0, 1]})
