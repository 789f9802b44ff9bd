"""Gradients of weights that autograd does not show are missed by no proxy in silence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vkdnw import proxies

BATCH = 6
SUMS = ("grad_norm", "snip", "grasp", "gradsign", "zico", "ntk", "plain", "synflow")


class Recompute(torch.autograd.Function):
    """Runs a block again when a gradient comes, and adds its weights' gradients by itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: nn.Module) -> Tensor:
        ctx.block = block
        ctx.save_for_backward(x)
        with torch.no_grad():
            returned: Tensor = block(x)
        return returned

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.block(x)
        torch.autograd.backward(y, gradients)
        return x.grad, None


class Swish(torch.autograd.Function):
    """Hides nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (x,) = ctx.saved_tensors
        share = x.sigmoid()
        return gradients[0] * share * (1 + x * (1 - share))


class Net(nn.Module):
    """A stem, a block that is called in some way, a head, and a layer that is not used."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.fc, self.unused = nn.Linear(4, 3), nn.Linear(2, 2)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.stem(x))
        if self.way == "a reversible block":
            return self._head(Recompute.apply(h, self.block))
        if self.way == "a reentrant checkpoint":
            return self._head(checkpoint(self.block, h, use_reentrant=True))
        if self.way == "a checkpoint":
            return self._head(checkpoint(self.block, h, use_reentrant=False))
        return self._head(Swish.apply(self.block(h)))

    def _head(self, h: Tensor) -> Tensor:
        logits: Tensor = self.fc(h)
        return logits


def value(name: str, model: nn.Module) -> float:
    source, labels = torch.Generator().manual_seed(1), torch.arange(BATCH) % 3
    images, others = torch.randn(2, BATCH, 4, generator=source)
    read = proxies.Inputs(
        noise=images,
        noise_labels=labels,
        images=images,
        labels=labels,
        second_images=others,
        second_labels=labels,
    )
    return proxies.compute([name], model, read, seed=0)[name].value


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("way", ["a reversible block", "a reentrant checkpoint"])
@pytest.mark.filterwarnings("ignore:.*use_reentrant.*")
def test_hidden_gradients_are_refused(way: str, name: str) -> None:
    model = Net(way)
    with pytest.raises(ValueError, match=r"use_reentrant=False"):
        value(name, model)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", SUMS)
def test_functions_that_hide_nothing_have_values(name: str) -> None:
    assert value(name, Net("a function")) != 0
    assert value(name, Net("a checkpoint")) != 0
