"""Replaces the forwards of a model's layers for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from vkdnw.backward.layers.batch_norm import train_batch_norm
from vkdnw.backward.layers.convolution import train_convolution
from vkdnw.backward.layers.eligibility import is_native_pooling
from vkdnw.backward.layers.pooling import train_pooling
from vkdnw.backward.layers.relu import train_relu
from vkdnw.backward.layers.weight_gradient_switch import WeightGradients

Forward = Callable[[Tensor], Any]


@contextmanager
def replaced_forwards(forwards: Iterable[tuple[nn.Module, Forward]]) -> Iterator[None]:
    """Inside the block, modules compute by these functions."""
    replaced: list[nn.Module] = []
    try:
        for module, forward in forwards:
            module.__dict__["forward"] = forward
            replaced.append(module)
        yield
    finally:
        for module in replaced:
            module.__dict__.pop("forward", None)


def native_layers(
    modules: Iterable[nn.Module],
    weights: WeightGradients,
    on_relu: Callable[[Tensor], None],
    lazy: bool,
) -> AbstractContextManager[None]:
    """Inside the block, every layer with a native gradient in train mode has another forward.

    Args:
        weights: whether gradients of weights are wanted, at the time of a backward pass.
        on_relu: is called with the output of every ReLU that is replaced.
        lazy: whether results may be computed only when they are needed. A forward pass may then
            raise :class:`OverwrittenError`, and has to be run again with ``lazy=False``.
    """
    found = ((module, _train_forward(module, weights, on_relu, lazy)) for module in modules)
    return replaced_forwards((module, forward) for module, forward in found if forward is not None)


def _train_forward(
    module: nn.Module,
    weights: WeightGradients,
    on_relu: Callable[[Tensor], None],
    lazy: bool,
) -> Forward | None:
    if "forward" in vars(module):  # a forward that the caller has set is not replaced
        return None
    if type(module) is nn.ReLU and not module.inplace:
        return train_relu(on_relu, lazy)
    if is_native_pooling(module):
        return train_pooling(lazy)
    if type(module) is nn.Conv2d and "weight" in module._parameters:
        return train_convolution(module, weights)
    if type(module) is nn.BatchNorm2d and _has_plain_parameters(module):
        return train_batch_norm(module, weights, lazy)
    return None


def _has_plain_parameters(module: nn.Module) -> bool:
    """Whether weight and bias are parameters or None, and not computed on each call."""
    return {"weight", "bias"} <= module._parameters.keys()
