"""Layers of torch whose graph is known, and models that are made of them alone.

A probe runs a model on two samples and looks at every operator, because a forward() may do
anything. Where each module is a layer of torch's whose graph is known, or of a class that declares
its graph static (:data:`STATIC_GRAPH`), it need not (:mod:`vkdnw.per_sample.probing.symbolic`), and
no forward pass changes what those layers hold (:mod:`vkdnw.runtime.model_state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from vkdnw.runtime.members import Members, Unwritten

STATIC_GRAPH = "static_graph"
"""An attribute, True, of a class that defines ``forward()``: whatever the data and the device, that
calls submodules with feature maps, adds maps, multiplies them by numbers, and does nothing else.
Shapes may be read."""

PLAIN: set[type[Tensor]] = {Tensor, nn.Parameter}
"""The types of tensors on which no class of a user's computes."""

Shape = tuple[int, ...]


class NotSymbolicError(Exception):
    """A model does something else, so that only a probe can tell."""


def unwritten_parts(members: Members) -> Unwritten | None:
    """The layers and tensors of a model of known layers alone; None where it has others.

    Torch's layers write nothing, but for BatchNorm in train mode. A hook might, and it might keep a
    tensor.
    """
    if (
        _has_any_global_hook()
        or not all(_is_known(module) for module in members.modules.values())
        or not all(map(_is_torchs, LAYERS.keys() | _CONTAINERS))
        or not all(type(p) in PLAIN for p in members.parameters.values())
        or not all(type(b) in PLAIN for b in members.buffers.values())
        or any(p._backward_hooks for p in members.parameters.values())
    ):
        return None
    layers: list[nn.Module] = []
    others: list[nn.Module] = []
    for module in members.modules.values():
        writes = module.training and module._buffers
        (layers if type(module) in _UNWRITTEN and not writes else others).append(module)
    written = {id(buffer) for module in others for buffer in module._buffers.values()}
    fixed = {name: each for name, each in members.buffers.items() if id(each) not in written}
    return Unwritten(layers, members.parameters | fixed, others)


def _is_known(module: nn.Module) -> bool:
    """Whether a module is a layer of the table, or declares that its graph is static."""
    held = vars(module)
    if not held.keys().isdisjoint(_REPLACED):
        return False
    if (
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
    ):
        return False
    kind = type(module)
    if kind in LAYERS:
        return True
    owner = next((each for each in kind.__mro__ if "forward" in vars(each)), nn.Module)
    return owner in _CONTAINERS or vars(owner).get(STATIC_GRAPH) is True


def _is_torchs(kind: type[nn.Module]) -> bool:
    """Whether a class of torch has the methods that it came with: programs replace them."""
    methods = (getattr(kind, name, None) for name in _METHODS)
    return all(each is None or each.__module__.startswith("torch.") for each in methods)


_METHODS = ("forward", "_conv_forward", "__call__")

_REPLACED = {*_METHODS, "weight", "bias", "running_mean", "running_var"}
"""Attributes of a module itself that make it compute something else than its class says."""

_CONTAINERS = {nn.Sequential, nn.Module}  # of the second: ModuleDict and ModuleList, never called


# ---- the table ---------------------------------------------------------------------------------


def require(holds: bool) -> None:
    if not holds:
        raise NotSymbolicError


def _of_convolution(conv: Any, shape: Shape) -> Shape:
    require(conv.padding_mode == "zeros" and not isinstance(conv.padding, str))
    require(len(shape) == 4 and shape[1] == conv.in_channels)
    sides = _sides(shape, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return shape[0], conv.out_channels, *sides


def _of_pooling(pool: Any, shape: Shape) -> Shape:
    require(len(shape) == 4 and not pool.ceil_mode)
    sizes = (pair(pool.kernel_size), pair(pool.stride), pair(pool.padding))
    return *shape[:2], *_sides(shape, *sizes, (1, 1))


def pair(size: Any) -> tuple[int, int]:
    """A size of both sides, as layers keep it: a number or two."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _sides(shape: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Shape:
    sides = tuple(
        (side + 2 * p - d * (k - 1) - 1) // s + 1
        for side, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    require(min(sides) > 0)
    return sides


def _of_norm(norm: Any, shape: Shape) -> Shape:
    require(len(shape) == 4 and shape[1] == norm.num_features)
    return shape


def _of_relu(relu: Any, shape: Shape) -> Shape:
    require(not relu.inplace)
    return shape


def _of_mean(pool: Any, shape: Shape) -> Shape:
    require(len(shape) == 4 and pool.output_size == 1)
    return *shape[:2], 1, 1


def _of_flatten(flatten: Any, shape: Shape) -> Shape:
    require((flatten.start_dim, flatten.end_dim) == (1, -1))
    return shape[0], torch.Size(shape[1:]).numel()


def _of_linear(linear: Any, shape: Shape) -> Shape:
    require(len(shape) == 2 and shape[1] == linear.in_features)
    return shape[0], linear.out_features


IDENTITY = ""
BATCH_NORM = "NativeBatchNormBackward0"

LAYERS: dict[type[nn.Module], tuple[str, Callable[[Any, Shape], Shape]]] = {
    nn.AdaptiveAvgPool2d: ("MeanBackward1", _of_mean),
    nn.AvgPool2d: ("AvgPool2DBackward0", _of_pooling),
    nn.BatchNorm2d: (BATCH_NORM, _of_norm),
    nn.Conv2d: ("ConvolutionBackward0", _of_convolution),
    nn.Flatten: ("ViewBackward0", _of_flatten),
    nn.Identity: (IDENTITY, lambda _, shape: shape),
    nn.Linear: ("AddmmBackward0", _of_linear),
    nn.ReLU: ("ReluBackward0", _of_relu),
}
"""By a layer's very type: torch's name of its node, and the shape that it makes of one."""

_UNWRITTEN = LAYERS.keys() | {nn.Sequential, nn.ModuleDict, nn.ModuleList}
