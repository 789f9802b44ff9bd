"""Symbolic tracing finds what a probe finds, and leaves to a probe what it does not know."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import fields
from random import Random

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.reference import reference_jacobian
from vkdnw.options import Options
from vkdnw.per_sample.probing import trace as tracing
from vkdnw.per_sample.probing.trace import Trace, trace_model
from vkdnw.per_sample.problem import prepared
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.weights import select

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    static_graph = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        logits: Tensor = self.pool(y + y * 0.5)
        return logits


class Undeclared(Block):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Functional(nn.Module):
    """Declares a static graph, and calls an operator of torch."""

    static_graph = True

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.block(torch.tanh(x))
        return logits


class Dishonest(nn.Module):
    """Declares a static graph, and does something else with tensors."""

    static_graph = True

    def __init__(self, hidden: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block, self.hidden = Block(), hidden

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.block(self.hidden(x) if isinstance(x, Tensor) else x)
        return logits


def hooked() -> nn.Module:
    model = Block()
    model.conv[0].register_forward_hook(lambda layer, args, output: 2 * output)
    return model


def traced(model: nn.Module, images: Tensor = IMAGES) -> Trace:
    with prepared(model.eval(), images, Options()) as problem:
        return trace_model(problem)


def probed(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> Trace:
    with monkeypatch.context() as patched:
        patched.setattr(tracing, "symbolic_graph", lambda *_: None)
        return traced(model)


def plain(trace: Trace) -> dict[str, object]:
    """A trace but for its graph, whose nodes are of another kind, and for numbers."""
    values = {each.name: getattr(trace, each.name) for each in fields(trace)}
    for name in ("find_fewest", "graph", "users"):
        del values[name]
    values["layers"] = {name: (layer.module, layer.leaves) for name, layer in trace.layers.items()}
    values["logits"] = trace.logits.shape, trace.logits.dtype
    values["records"] = [
        (site, record.input.shape, record.output.shape, record.input.dtype)
        for site, record in trace.records.items()
    ]
    return values


CELLS = [*Random(0).sample(list(NB201().architectures()), 20), "|none~0|+|none~0|none~1|"
         "+|nor_conv_3x3~0|none~1|none~2|"]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_a_symbolic_trace_tells_what_a_probe_tells(
    monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    model = NB201(cells=1).build(cell)
    trace = traced(model)
    assert trace.graph is not None
    assert plain(trace) == plain(probed(monkeypatch, model))


@pytest.mark.parametrize("cell", CELLS[:3])
def test_the_score_has_the_same_bits(monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    model = vkdnw.initialise(NB201(cells=1).build(cell), seed=0).eval()
    symbolic = vkdnw.score(model, IMAGES)
    with monkeypatch.context() as patched:
        patched.setattr(tracing, "symbolic_graph", lambda *_: None)
        assert torch.equal(symbolic.eigenvalues, vkdnw.score(model, IMAGES).eigenvalues)


def with_softmax() -> nn.Module:
    return nn.Sequential(Block(), nn.Softmax(1))


@pytest.mark.parametrize("make", [Undeclared, Functional, hooked, with_softmax])
def test_what_is_not_known_is_probed(make: Callable[[], nn.Module]) -> None:
    assert traced(Block()).graph is not None
    assert traced(make()).graph is None


@pytest.mark.parametrize(
    ("kind", "method"),
    [(nn.ReLU, "forward"), (nn.Conv2d, "_conv_forward"), (nn.Sequential, "forward")],
)
def test_a_layer_with_another_method_is_probed(
    monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], method: str
) -> None:
    own = getattr(kind, method)
    monkeypatch.setattr(kind, method, lambda module, *args: own(module, *args))
    assert traced(Block()).graph is None


def test_a_convolution_that_computes_otherwise_is_probed() -> None:
    model = Block()
    own = model.conv[0]._conv_forward
    model.conv[0]._conv_forward = lambda *args: 2 * own(*args)
    assert traced(model).graph is None


def test_a_model_that_does_not_do_what_it_declares_has_the_derivatives_of_autograd() -> None:
    torch.manual_seed(0)
    model, images = Dishonest(torch.sin).double().eval(), IMAGES.double()
    assert traced(model, images).graph is not None
    weights = vkdnw.weights.every()
    found = vkdnw.jacobian(model, images, weights=weights)
    expected = reference_jacobian(model, images, select(model, weights))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_model_that_mixes_samples_is_refused_whatever_it_declares() -> None:
    model = Dishonest(lambda x: x - x.mean(0)).eval()
    assert traced(model).graph is not None
    with pytest.raises(ValueError, match="samples mix"):
        vkdnw.score(model, IMAGES)


def test_a_model_that_writes_to_its_weights_is_refused_whatever_it_declares() -> None:
    model = Dishonest(torch.relu).eval()

    def written(x: Tensor) -> Tensor:
        with torch.no_grad():
            model.block.conv[0].weight.mul_(0.5)
        return x

    model.hidden = written
    with pytest.raises(ValueError, match=r"writes into block\.conv\.0\.weight.*static_graph"):
        vkdnw.score(model, IMAGES)


def test_attributes_are_left_as_they_were_whatever_a_model_declares() -> None:
    model = Dishonest(lambda x: model.kept.append(x) or x).eval()
    model.kept = []
    model.block.conv[0].weight.requires_grad_(False)
    gradient = model.block.conv[0].bias.grad = torch.ones(4)
    vkdnw.score(model, IMAGES)
    assert traced(model).graph is not None
    assert model.kept == []
    assert not model.block.conv[0].weight.requires_grad
    assert model.block.conv[0].bias.grad is gradient


def test_errors_are_those_of_the_model() -> None:
    model = NB201(cells=1).build(nb201.live()[0]).eval()
    with pytest.raises(ValueError, match="channels"):
        vkdnw.score(model, torch.randn(2, 4, 8, 8))


def test_a_trace_is_freed_without_the_collector() -> None:
    model = Block().eval()
    freed = weakref.ref(model.conv[0])
    gc.disable()
    try:
        traced(model)
        del model
        assert freed() is None
    finally:
        gc.enable()
