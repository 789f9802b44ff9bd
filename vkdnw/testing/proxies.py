"""The conditions that every proxy meets, as tests for a proxy of your own."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vkdnw import proxies
from vkdnw.proxies import Inputs, Proxy, Value
from vkdnw.runtime.threads import one_thread

BATCH, SIDE, CLASSES = 6, 12, 4

BESIDE = ("naswot", "jacov", "grad_norm")
"""Proxies that share a pass, which are computed together with the one that is tested."""


class ProxyTests:
    """Inherit from this class, and set the proxy's name.

    ``model`` and ``inputs`` are fixtures; override them where the proxy needs others.
    """

    name: str
    """The proxy's name, or ``module:function``."""

    rounding: float = 1e-2
    """How far the value of a float32 model may be from that of a float64 one, relative."""

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        with one_thread():
            yield

    @pytest.fixture
    def proxy(self) -> Proxy:
        return proxies.proxy(self.name)

    @pytest.fixture
    def model(self) -> nn.Module:
        """A small network of convolutions in blocks, of random weights."""
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, CLASSES),
        )

    @pytest.fixture
    def inputs(self) -> Inputs:
        source = torch.Generator(device="cpu").manual_seed(1)

        def images() -> Tensor:
            return torch.randn(BATCH, 3, SIDE, SIDE, generator=source, device="cpu")

        labels = torch.arange(BATCH, device="cpu") % CLASSES
        return Inputs(
            noise=images(),
            images=images(),
            labels=labels,
            second_images=images(),
            second_labels=labels.flip(0),
        )

    def value(self, model: nn.Module, inputs: Inputs, *beside: str, seed: int = 0) -> Value:
        return proxies.compute([self.name, *beside], model, inputs, seed=seed)[self.name]

    # ---- its data --------------------------------------------------------------------------------

    def test_is_described(self, proxy: Proxy) -> None:
        """`vkdnw proxies` shows this."""
        for field in ("title", "reference", "undefined"):
            assert getattr(proxy, field).strip(), f"{field} is empty"

    def test_refuses_an_input_that_is_missing(self, proxy: Proxy, model: nn.Module) -> None:
        """The message names the proxy and the input."""
        if proxy.input == "none":
            pytest.skip("it reads none")
        with pytest.raises(ValueError, match=rf"proxy {proxy.name} reads {proxy.input}"):
            self.value(model, Inputs())

    # ---- its value -------------------------------------------------------------------------------

    def test_is_a_number_or_says_why_not(self, model: nn.Module, inputs: Inputs) -> None:
        """A value of 0 for a failure would rank."""
        value = self.value(model, inputs)
        assert math.isfinite(value.value) == (value.reason is None)
        assert math.isfinite(value.value), f"no value of an ordinary network: {value.reason}"

    def test_follows_from_model_inputs_and_seed(self, model: nn.Module, inputs: Inputs) -> None:
        """To the last bit, whatever torch's random state is: draw from call.generator(name)."""
        torch.manual_seed(1)
        first = self.value(model, inputs)
        torch.manual_seed(2)
        assert self.value(copy.deepcopy(model), inputs) == first

    def test_does_not_depend_on_what_else_is_computed(
        self, model: nn.Module, inputs: Inputs
    ) -> None:
        """To the last bit."""
        alone = self.value(model, inputs)
        beside = [name for name in BESIDE if name != self.name]
        assert self.value(model, inputs, *beside) == alone

    def test_does_not_depend_on_the_mode_of_the_model(
        self, model: nn.Module, inputs: Inputs
    ) -> None:
        """Each proxy says in which mode it runs the model."""
        assert self.value(model.train(), inputs) == self.value(model.eval(), inputs)

    def test_changes_with_rounding_only_in_float64(self, model: nn.Module, inputs: Inputs) -> None:
        single = self.value(model, inputs).value
        double: dict[str, Any] = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in vars(inputs).items()
            if isinstance(tensor, Tensor)
        }
        assert single == pytest.approx(
            self.value(model.double(), Inputs(**double)).value, rel=self.rounding
        )

    # ---- the model afterwards --------------------------------------------------------------------

    @pytest.mark.parametrize("training", [False, True])
    def test_leaves_the_model_as_it_was(
        self, training: bool, model: nn.Module, inputs: Inputs
    ) -> None:
        model.train(training)
        before = copy.deepcopy(model)
        random_state, read = torch.get_rng_state(), copy.deepcopy(inputs)
        self.value(model, inputs)
        for (name, tensor), same in zip(
            model.state_dict().items(), before.state_dict().values(), strict=True
        ):
            assert torch.equal(tensor, same), f"{name} has changed"
        for (name, module), (_, same_module) in zip(
            model.named_modules(), before.named_modules(), strict=True
        ):
            assert module.training == same_module.training, f"{name} is in another mode"
            assert not module._forward_hooks, f"{name} has a hook left"
        for name, parameter in model.named_parameters():
            assert parameter.grad is None, f"{name} has a gradient left"
            assert parameter.requires_grad, f"{name} is frozen"
        assert torch.equal(torch.get_rng_state(), random_state), "the random state has moved"
        for name, tensor in vars(read).items():
            if isinstance(tensor, Tensor):
                assert torch.equal(getattr(inputs, name), tensor), f"inputs.{name} has changed"
