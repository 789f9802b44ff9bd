"""Weights are drawn anew only when asked for, from a seed, by a generator of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import vkdnw
from tests.library.cases.networks import residual_network
from vkdnw.search.spaces import nb201


def parameters(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_the_seed_alone_decides() -> None:
    one = parameters(vkdnw.initialise(residual_network(), "kaiming_normal", seed=3))
    other = parameters(vkdnw.initialise(residual_network(), "kaiming_normal", seed=3))
    third = parameters(vkdnw.initialise(residual_network(), "kaiming_normal", seed=4))
    assert all(map(torch.equal, one, other))
    assert not all(map(torch.equal, one, third))


def test_the_dtype_only_rounds() -> None:
    single = parameters(vkdnw.initialise(residual_network(), seed=3))
    double = parameters(vkdnw.initialise(residual_network().double(), seed=3))
    assert all(torch.equal(a, b.float()) for a, b in zip(single, double, strict=True))


def test_the_model_is_changed_in_place_and_returned_and_nothing_else() -> None:
    model = residual_network()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.dim() > 1)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    before = list(model.parameters())
    state = torch.get_rng_state()
    assert vkdnw.initialise(model, seed=0) is model
    assert torch.equal(torch.get_rng_state(), state)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert model.training


def test_variances_and_constants_are_the_papers() -> None:
    model = nb201.build(nb201.enumerate()[-1], channels=32, cells=1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(1, 2)
            module.num_batches_tracked.add_(5)
    vkdnw.initialise(model, "kaiming_normal", seed=0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            count = module.weight.numel()
            spread = module.weight.var() / (2 / fan_in)
            assert abs(spread - 1) < 5 * (2 / count) ** 0.5
            assert abs(module.weight.mean()) < 5 * (2 / fan_in / count) ** 0.5
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
            assert not module.running_mean.any()
            assert (module.running_var == 1).all()
            assert module.num_batches_tracked == 0


def test_normalisations_become_neutral_and_other_parameters_stay() -> None:
    model = nn.Sequential(
        nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), nn.PReLU()
    )
    model.append(nn.LayerNorm(4, elementwise_affine=False))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.3)
    vkdnw.initialise(model, seed=0)
    for layer in model[:3]:
        assert (layer.weight == 1).all()
        assert not layer.bias.any()
    assert model[3].weight == 0.3


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scheme='xavier'.*kaiming_normal"):
        vkdnw.initialise(residual_network(), "xavier", seed=0)


def test_weights_that_are_computed_from_others_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), parametrizations.weight_norm(nn.Linear(3, 3)))
    before = parameters(model)
    with pytest.raises(ValueError, match=r"1 .*weight.*computed.*remove"):
        vkdnw.initialise(model, seed=0)
    assert all(map(torch.equal, parameters(model), before))
