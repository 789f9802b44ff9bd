"""A native pass is used only where it is the model's own function: else values are torch's."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from vkdnw import proxies
from vkdnw.proxies import Inputs
from vkdnw.proxies.native_verification import Verified, verified
from vkdnw.proxies.train_pass import Recording
from vkdnw.runtime.model_state import State

NAMES = ("grad_norm", "jacov", "trainability", "expressivity", "naswot", "snip")
ROUNDING = 1e-3
"""Float32 through three layers, where each fault below moves a value by more than a hundredth."""

Mapping = Callable[[Tensor], Tensor]


class Network(nn.Module):
    """Three blocks whose outputs go through a function."""

    def __init__(self, between: Mapping = lambda x: x) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = ((3, 16), (16, 16), (16, 16))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in sizes
        )
        self.fc = nn.Linear(16, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self.between(block(x))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def hooked(hook: Callable[[Tensor], Tensor]) -> Mapping:
    """Registers a hook on each output."""

    def between(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(hook)
        return x

    return between


def node_hooked(x: Tensor) -> Tensor:
    if x.grad_fn is not None:
        x.grad_fn.register_hook(lambda into, out: tuple(g if g is None else 0.5 * g for g in into))
    return x


def by_strides(x: Tensor) -> Tensor:
    """Right for maps that lie in memory as ``[B, C, H, W]``."""
    return x + x.as_strided(x.shape, x.new_empty(x.shape).stride()).roll(1, 1)


def plain_network() -> Network:
    return Network()


def other_dilation() -> Network:
    model = Network()
    conv = model.blocks[1][0]
    conv.padding = conv.dilation = (2, 2)
    return model


def other_forward() -> Network:
    model = Network()
    conv = model.blocks[1][0]
    conv._conv_forward = types.MethodType(
        lambda self, x, weight, bias: F.conv2d(x.roll(1, 2), weight, bias, padding=1), conv
    )
    return model


def other_weight() -> Network:
    model = Network()
    conv = model.blocks[1][0]
    conv.weight, conv.padding = nn.Parameter(torch.randn(16, 16, 1, 1)), (0, 0)
    return model


def replaced_output() -> Network:
    model = Network()
    model.blocks[1][2].register_forward_hook(lambda module, args, output: output.pow(2))
    return model


def replaced_gradient() -> Network:
    model = Network()
    model.blocks[1].register_full_backward_hook(lambda module, into, out: (0.1 * into[0],))
    return model


MODELS: dict[str, Callable[[], Network]] = {
    "gradients are scaled by a hook": lambda: Network(hooked(lambda g: 0.1 * g)),
    "large gradients are clipped by a hook": lambda: Network(
        hooked(lambda g: g.clamp(-1e-3, 1e-3))
    ),
    "gradients are halved at a node": lambda: Network(node_hooked),
    "a map is read by its strides": lambda: Network(by_strides),
    "a dilation is set later": other_dilation,
    "a convolution is replaced on the instance": other_forward,
    "a weight is replaced by another shape": other_weight,
    "a hook replaces an output": replaced_output,
    "a hook replaces a gradient": replaced_gradient,
}


def read(dtype: torch.dtype = torch.float32) -> Inputs:
    noise = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    labels = torch.arange(6) % 3
    return Inputs(noise=noise, noise_labels=labels, images=noise, labels=labels)


def assert_torchs_values(build: Callable[[], Network]) -> None:
    expected = proxies.compute(NAMES, build().double(), read(torch.float64), seed=0)
    together = proxies.compute(NAMES, build(), read(), seed=0)
    for name in NAMES:
        assert together[name].value == pytest.approx(expected[name].value, rel=ROUNDING), name
        assert proxies.compute([name], build(), read(), seed=0)[name] == together[name], name


@pytest.mark.parametrize("name", MODELS)
def test_values_are_those_of_the_model_as_it_is(name: str) -> None:
    assert_torchs_values(MODELS[name])


@contextmanager
def global_hook() -> Iterator[None]:
    def doubled(module: nn.Module, args: Any, output: Any) -> Any:
        return 2 * output if isinstance(module, nn.ReLU) else None

    handle = register_module_forward_hook(doubled)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def patched_class() -> Iterator[None]:
    forward = nn.Conv2d.forward
    nn.Conv2d.forward = lambda self, input: 2 * forward(self, input)  # noqa: A006
    try:
        yield
    finally:
        nn.Conv2d.forward = forward


@pytest.mark.parametrize("changed", [global_hook, patched_class, nullcontext])
def test_what_holds_for_all_modules_of_the_process(changed: Callable[[], Any]) -> None:
    with changed():
        assert_torchs_values(plain_network)


def check(model: nn.Module) -> Verified:
    observed = Recording(frozenset({"features", "weight gradients", "input gradient"}))
    model.train()
    return verified(model, State(model), read().noise, observed, seed=0)


def test_a_model_of_plain_layers_is_computed_natively() -> None:
    assert check(Network()) == Verified(layers=True, products=True, weights=True)


TAKEN = {"a dilation is set later", "a hook replaces an output", "a hook replaces a gradient"}
"""Native layers leave these to torch, layer by layer."""


@pytest.mark.parametrize("name", sorted(set(MODELS) - TAKEN))
def test_one_that_native_layers_would_get_wrong_is_not(name: str) -> None:
    assert not check(MODELS[name]()).layers


def test_the_check_leaves_the_model_and_the_random_state() -> None:
    model = Network(nn.Dropout(0.5)).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    check(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
