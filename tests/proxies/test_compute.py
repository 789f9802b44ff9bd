"""Computing several proxies at once changes neither their values nor the model."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import vkdnw
from tests.library.test_unchanged import state
from vkdnw import proxies
from vkdnw.proxies import Inputs
from vkdnw.search.spaces import nb201

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"


def network(channels: int = 16) -> nn.Module:
    """With 16 channels, layers have native gradients."""
    torch.manual_seed(0)
    return vkdnw.initialise(nb201.build(CELL, channels=channels, cells=1), seed=1)


def inputs() -> Inputs:
    source = torch.Generator().manual_seed(3)
    draw = lambda: torch.randn(6, 3, 16, 16, generator=source)  # noqa: E731
    return Inputs(
        noise=draw(),
        images=draw(),
        labels=torch.arange(6),
        second_images=draw(),
        second_labels=torch.arange(6) + 2,
    )


@pytest.mark.parametrize("initialise", [False, True])
def test_a_value_does_not_depend_on_the_others(initialise: bool) -> None:
    model, read = network(), inputs()
    options = {"seed": 5, "initialise": initialise}
    together = proxies.compute(proxies.names(), model, read, **options)
    for name in proxies.names():
        assert proxies.compute([name], model, read, **options)[name] == together[name], name
    for pair in itertools.pairwise(proxies.names()):
        some = proxies.compute(reversed(pair), model, read, **options)
        assert some == {name: together[name] for name in pair}


def test_values_come_in_the_order_of_the_names() -> None:
    names = ("naswot", "flops", "jacov", "expressivity", "naswot")
    found = proxies.compute(names, network(), inputs(), seed=0)
    assert list(found) == ["naswot", "flops", "jacov", "expressivity"]


def test_the_seed_decides_draws_and_weights() -> None:
    model, read = network(), inputs()

    def values(seed: int, initialise: bool) -> dict[str, proxies.Value]:
        names = ("trainability", "grad_norm", "naswot", "layers")
        return proxies.compute(names, model, read, seed=seed, initialise=initialise)

    assert values(1, True) == values(1, True)
    given, other = values(1, False), values(2, False)
    assert given["naswot"] == other["naswot"]  # no draws of its own
    for name in ("trainability", "grad_norm"):
        assert given[name] != other[name]
    assert values(1, True)["naswot"] != values(2, True)["naswot"]


def test_initialisation_is_that_of_the_library() -> None:
    model, read = network(), inputs()
    drawn = proxies.compute(["naswot"], model, read, seed=7, initialise=True)
    vkdnw.initialise(model, seed=7)
    assert proxies.compute(["naswot"], model, read, seed=0) == drawn


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(training: bool) -> None:
    model, read = network(), inputs()
    model.train(training)
    model.cells[0].eval()
    model.stem.conv.weight.requires_grad_(False)
    model.head.fc.weight.grad = torch.ones_like(model.head.fc.weight)
    before = state(model, read.noise)
    proxies.compute(proxies.names(), model, read, seed=0, initialise=True)
    assert state(model, read.noise) == before


def test_the_model_is_left_as_it_was_when_it_fails() -> None:
    model, read = network(), inputs()

    def fail(module: nn.Module, args: object) -> None:
        if module.training:
            raise OSError("lost")

    model.head.fc.register_forward_pre_hook(fail)
    before = state(model, read.noise)
    with pytest.raises(OSError, match="lost"):
        proxies.compute(["naswot", "expressivity"], model, read, seed=0, initialise=True)
    assert state(model, read.noise) == before


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_gradients_may_be_off_around_a_call(without: type) -> None:
    model, read = network(), inputs()
    expected = proxies.compute(proxies.names(), model, read, seed=0)
    with without():
        assert proxies.compute(proxies.names(), model, inputs(), seed=0) == expected


def test_native_layers_agree_with_float64() -> None:
    model, read = network(), inputs()
    names = ("jacov", "trainability", "expressivity", "grad_norm", "naswot")
    single = proxies.compute(names, model, Inputs(noise=read.noise), seed=0)
    double = proxies.compute(names, model.double(), Inputs(noise=read.noise.double()), seed=0)
    for name in names:
        # Rounding moves gradients through ten layers of batch statistics by about 1e-5.
        assert single[name].value == pytest.approx(double[name].value, rel=1e-4), name


def test_vkdnw_is_the_librarys() -> None:
    model, noise = network(), inputs().noise
    for proxy, score in (("default", "fisher"), ("released", "released")):
        expected = vkdnw.score(model.eval(), noise, convention=score)
        found = proxies.compute(
            ["vkdnw", "vkdnw_single", "layers"], model, Inputs(noise), seed=0, convention=proxy
        )
        assert found["vkdnw"].value == expected.vkdnw
        assert found["vkdnw_single"].value == expected.single
        assert found["layers"].value == expected.layers


def test_counts_are_the_search_spaces() -> None:
    found = proxies.compute(["flops", "parameters", "layers"], network(), inputs(), seed=0)
    options = {"channels": 16, "cells": 1, "classes": 10}
    biases = 10  # which the benchmark counts among the FLOPs
    assert found["flops"].value == nb201.flops(CELL, **options, resolution=16) - biases
    assert found["parameters"].value == nb201.parameters(CELL, **options)
    assert found["layers"].value == nb201.layers(CELL, cells=1)


def test_refusals_name_what_is_missing() -> None:
    model = network()
    with pytest.raises(ValueError, match="no proxy is named 'naswott' \\(did you mean naswot"):
        proxies.compute(["naswott"], model, inputs(), seed=0)
    with pytest.raises(ValueError, match=r"proxy naswot reads noise: inputs.noise is None"):
        proxies.compute(["naswot"], model, Inputs(images=inputs().images), seed=0)
    with pytest.raises(ValueError, match="convention='right'"):
        proxies.compute(["naswot"], model, inputs(), seed=0, convention="right")
    with pytest.raises(ValueError, match="features names 'nowhere', which is no module"):
        proxies.compute(["expressivity"], model, inputs(), seed=0, features=["nowhere"])
    with pytest.raises(ValueError, match="images holds 6 samples and labels 2"):
        Inputs(images=inputs().images, labels=torch.arange(2))


def test_refusals_say_what_an_input_should_be() -> None:
    model, images, labels = network(), inputs().images, inputs().labels
    with pytest.raises(ValueError, match=r"names='flops' is one string: pass .* \['flops'\]"):
        proxies.compute("flops", model, inputs(), seed=0)
    with pytest.raises(ValueError, match="labels holds 2 classes for a batch of 6"):
        proxies.snip(model, images, labels[:2])
    with pytest.raises(ValueError, match=r"labels is torch.float32 of shape \[6\].*pass int64"):
        proxies.Inputs(labels=labels.float())
    with pytest.raises(ValueError, match=r"images are torch.uint8.*images.float\(\) / 255"):
        proxies.compute(["snip"], model, Inputs(images=images.byte(), labels=labels), seed=0)
    with pytest.raises(ValueError, match=r"noise is torch.float64 and the model's weights are"):
        proxies.naswot(model, images.double())
    with pytest.raises(ValueError, match="batch is a list: expected a tensor"):
        proxies.naswot(model, [images])
    for name in ("snip", "grad_norm", "grasp", "gradsign"):
        with pytest.raises(ValueError, match=r"labels hold class 1\d, and the model has 10 logits"):
            getattr(proxies, name)(model, images, labels + 7)
        with pytest.raises(ValueError, match=r"labels hold class -1, .*: its classes are 0 \.\. 9"):
            getattr(proxies, name)(model, images, labels - 1)


def test_labels_of_any_whole_number_will_do() -> None:
    model, images, labels = network(), inputs().images, inputs().labels
    for name in ("snip", "grasp"):
        short = getattr(proxies, name)(model, images, labels.short())
        assert short == getattr(proxies, name)(model, images, labels)
