"""Replaces the forwards of a model's layers for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from vkdnw.backward.layers.batch_norm import native_batch_norm
from vkdnw.backward.layers.convolution import native_convolution
from vkdnw.backward.layers.pooling import is_cell_pooling, native_pooling
from vkdnw.backward.layers.relu import native_relu
from vkdnw.backward.layers.weight_gradients import WeightGradients


@contextmanager
def native_layers(
    modules: Iterable[nn.Module],
    weights: WeightGradients,
    on_relu: Callable[[Tensor], None],
    pending: bool,
) -> Iterator[None]:
    """Replaces the forward of every layer that has a native gradient.

    Args:
        weights: whether gradients of weights are wanted, at the time of a backward pass.
        on_relu: is told the output of every ReLU that is replaced.
        pending: whether results may wait until they are needed. A forward pass may then raise
            :class:`OverwrittenError`, and has to be run again without.
    """
    replaced: list[nn.Module] = []
    try:
        for module in modules:
            forward = _replacement(module, weights, on_relu, pending)
            if forward is not None:
                module.__dict__["forward"] = forward
                replaced.append(module)
        yield
    finally:
        for module in replaced:
            module.__dict__.pop("forward", None)


def _replacement(
    module: nn.Module,
    weights: WeightGradients,
    on_relu: Callable[[Tensor], None],
    pending: bool,
) -> Callable[[Tensor], Tensor] | None:
    if "forward" in vars(module):  # nothing that the caller put there is replaced
        return None
    if type(module) is nn.ReLU and not module.inplace:
        return native_relu(on_relu, pending)
    if type(module) is nn.AvgPool2d and is_cell_pooling(module):
        return native_pooling(pending)
    if type(module) is nn.Conv2d and "weight" in module._parameters:
        return native_convolution(module, weights)
    if type(module) is nn.BatchNorm2d and _has_plain_parameters(module):
        return native_batch_norm(module, weights, pending)
    return None


def _has_plain_parameters(module: nn.Module) -> bool:
    """Whether weight and bias are parameters or None, and not computed on each call."""
    return {"weight", "bias"} <= module._parameters.keys()
