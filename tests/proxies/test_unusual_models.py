"""Models that proxies refuse by name, or compute although something about them is unusual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.library.cases.case import Forward
from vkdnw import proxies

BATCH, CLASSES = 5, 3


def images() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, 3, 6, 6)


def inputs() -> proxies.Inputs:
    labels = torch.arange(BATCH) % CLASSES
    return proxies.Inputs(images(), labels, None, None, images(), labels, images(), labels)


def network(run: Callable[..., Any], **parts: Any) -> nn.Module:
    torch.manual_seed(0)
    return Forward(run, stem=nn.Conv2d(3, 8, 1), head=nn.Linear(8, CLASSES), **parts)


def pooled(m: Any, maps: Tensor) -> Tensor:
    return m.head(maps.mean((2, 3)))


def completed(m: Any, x: Tensor) -> Tensor:
    if not hasattr(m, "late"):
        m.late = nn.Linear(8, CLASSES)
    return m.late(m.stem(x).mean((2, 3)))


@pytest.mark.parametrize("proxy", ["snip", "naswot", "flops", "zico", "meco"])
def test_one_that_is_completed_by_its_first_pass_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"forward\(\) adds late.weight to the model"):
        proxies.compute([proxy], network(completed), inputs(), seed=0)
    lazy = nn.Sequential(nn.LazyConv2d(8, 1), nn.Flatten(), nn.LazyLinear(CLASSES))
    with pytest.raises(ValueError, match=r"parameter 0.weight is lazy"):
        proxies.compute([proxy], lazy, inputs(), seed=0)
    assert nn.parameter.is_lazy(lazy[0].weight)


def slope_of_the_head(m: Any, x: Tensor) -> Tensor:
    features = m.stem(x).mean((2, 3))
    (slope,) = torch.autograd.grad(m.head(features).sum(), m.head.weight, create_graph=True)
    return features @ (m.head.weight - slope).T


@pytest.mark.parametrize("proxy", ["flops", "jacov", "zen", "meco"])
def test_a_model_that_fails_in_a_pass_is_refused_with_a_remedy(proxy: str) -> None:
    match = rf"failed in a pass for {proxy}: RuntimeError: .*grad.* use torch.func.grad"
    with pytest.raises(ValueError, match=match):
        proxies.compute([proxy], network(slope_of_the_head), inputs(), seed=0)


def routed(m: Any, x: Tensor) -> Tensor:
    """Each pixel to one of three experts; none is ever sent to the last."""
    maps = m.stem(x)
    tokens = maps.movedim(1, -1).reshape(-1, 8)
    chosen = (tokens[:, 0] > 0).long()
    found = torch.zeros_like(tokens)
    for number, expert in enumerate(m.experts):
        place = torch.nonzero(chosen == number)[:, 0]
        found = found.index_copy(0, place, expert(tokens[place]))
    return pooled(m, (found + tokens).view(len(x), 6, 6, 8).movedim(-1, 1))


def experts() -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(8, 8) for _ in range(3))


def test_trainability_says_that_rows_are_those_of_an_expert() -> None:
    model, names = network(routed, experts=experts()), ("stem", "experts.0")
    found = proxies.trainability(model, images(), features=names)
    assert found.reason is not None
    assert "rows on their first axis" in found.reason


def test_an_expert_without_tokens_computes_nothing() -> None:
    model, used = network(routed, experts=experts()), network(routed, experts=experts())
    used.experts = used.experts[:2]
    for name in ("capacity", "meco"):
        expected = proxies.compute([name], used, inputs(), seed=0)[name]
        assert proxies.compute([name], model, inputs(), seed=0)[name] == expected


def gated(m: Any, x: Tensor) -> Tensor:
    with torch.inference_mode():
        gate = m.gate(x) + 1
    return pooled(m, m.stem(x) * gate.clone())


def gated_by_a_constant(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        gate = m.gate(x) + 1
    return pooled(m, m.stem(x) * gate)


def test_zen_passes_over_maps_of_inference_mode() -> None:
    values = [
        proxies.zen(network(run, gate=nn.Conv2d(3, 8, 1), norm=nn.BatchNorm2d(8)), images())
        for run in (gated, gated_by_a_constant)
    ]
    assert values[0] == values[1]


def nested(m: Any, x: Tensor) -> Tensor:
    rows = torch.nested.as_nested_tensor(list(m.stem(x).flatten(2).transpose(1, 2)))
    return m.head(torch.stack([row.mean(0) for row in m.inner(rows).unbind()]))


@pytest.mark.parametrize("proxy", ["meco", "near", "fisher"])
def test_layers_on_nested_tensors_are_refused_where_they_are_read(proxy: str) -> None:
    with pytest.raises(ValueError, match=r"a Linear returns a nested tensor.*pad it"):
        proxies.compute([proxy], network(nested, inner=nn.Linear(8, 8)), inputs(), seed=0)


def in_vmap(m: Any, x: Tensor) -> Tensor:
    rows = m.stem(x).flatten(2).transpose(1, 2)
    return m.head(torch.func.vmap(m.inner)(rows).mean(1))


@pytest.mark.parametrize("proxy", ["expressivity", "trainability", "meco"])
def test_layers_inside_a_transform_are_refused_where_they_are_read(proxy: str) -> None:
    model = network(in_vmap, inner=nn.Linear(8, 8))
    with pytest.raises(ValueError, match=r"a Linear inside a transform.*call the layer outside"):
        proxies.compute([proxy], model, inputs(), seed=0, features=("stem", "inner"))


@pytest.mark.parametrize("proxy", ["expressivity", "naswot", "zico"])
def test_a_compiled_model_has_the_values_of_the_model(proxy: str) -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(8 * 36, CLASSES),
    )
    compiled = torch.compile(model, backend="eager")
    found = [proxies.compute([proxy], each, inputs(), seed=0) for each in (compiled, model)]
    assert found[0] == found[1]


@pytest.mark.parametrize("proxy", ["grad_norm", "gradsign", "naswot"])
def test_parameters_without_derivatives_are_refused(proxy: str) -> None:
    with torch.inference_mode():
        constant = network(lambda m, x: pooled(m, m.stem(x)))
    scaled = network(
        lambda m, x: pooled(m, (m.stem(x) * m.phase).abs()),
        phase=nn.Parameter(torch.ones(1, 8, 1, 1, dtype=torch.complex64)),
    )
    for model, says in ((constant, "inference_mode"), (scaled, "phase is complex")):
        with pytest.raises(ValueError, match=says):
            proxies.compute([proxy], model, inputs(), seed=0)


@pytest.mark.parametrize("proxy", ["ntk", "grad_norm", "gradsign", "snip", "zico"])
def test_sparse_gradients_count_as_dense_ones(proxy: str) -> None:
    """Each pixel looks a vector up."""

    def looks_up(m: Any, x: Tensor) -> Tensor:
        return m.head(m.table((x[:, 0] > 0).long()).mean((1, 2)) + m.stem(x).mean((2, 3)))

    found = []
    for sparse in (True, False):
        model = network(looks_up, table=nn.Embedding(2, 8, sparse=sparse))
        found.append(proxies.compute([proxy], model, inputs(), seed=0))
    assert found[0] == found[1]


def test_images_that_hold_nan_are_refused() -> None:
    wrong = images()
    wrong[2, 0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match=r"images holds nan .*clean the data"):
        proxies.Inputs(images=wrong)


def test_synflow_heeds_hooks_on_weights() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        return pooled(m, F.relu(m.stem(x)))

    model = network(run)
    plain = proxies.synflow(model, images()).value
    for weight in (model.stem.weight, model.head.weight):
        weight.register_hook(lambda gradient: 3 * gradient)
    assert proxies.synflow(model, images()).value == pytest.approx(3 * plain)


def residual(m: Any, x: Tensor) -> Tensor:
    shortcut = x.mean(1, keepdim=True) * torch.ones(1, 16, 1, 1)
    shortcut = shortcut.contiguous(memory_format=torch.channels_last)
    y = m.norm(m.first(x)) + shortcut
    if m.overwrites:
        shortcut.zero_()  # before y is read
    return m.head(m.relu(m.second(m.relu(y))).mean((2, 3)))


@pytest.mark.parametrize("proxy", ["naswot", "naswot_layers", "swap", "linear_region"])
def test_one_that_overwrites_a_summand_has_the_value_of_one_that_does_not(proxy: str) -> None:
    """The native pass computes the sum when it is read, so it is run again without."""
    first, second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
    parts = {"first": first, "norm": nn.BatchNorm2d(16), "relu": nn.ReLU(), "second": second}
    model = Forward(residual, **parts, head=nn.Linear(16, CLASSES))
    values = []
    for model.overwrites in (False, True):
        values.append(proxies.compute([proxy], model, inputs(), seed=0)[proxy])
    assert values[0] == values[1]
    assert values[0].reason is None
