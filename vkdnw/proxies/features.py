"""The features F_0 .. F_K of AZ-NAS: the outputs of the stem and of every block.

Any model is cut into blocks by one rule, or by the caller's names. While the model runs, features
are reduced to the numbers that proxies need, before later layers may overwrite them. A feature
keeps the covariance of its channels and its place in the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils._python_dispatch import _disable_current_modes

from vkdnw.backward.layers import cut
from vkdnw.proxies.blocks import blocks
from vkdnw.proxies.feature_spectra import covariance
from vkdnw.proxies.layer_outputs import check_untransformed


@dataclass(frozen=True)
class Feature:
    """The output of a feature's module."""

    name: str
    shape: torch.Size
    dtype: torch.dtype
    channels: int  # which axis they are
    edge: GradientEdge | None  # None where it does not depend on the input
    covariance: Tensor | None  # of its channels, if it was asked for

    @property
    def sides(self) -> list[int]:
        """Of the map: its height and width; the number of tokens."""
        return [side for axis, side in enumerate(self.shape) if axis not in (0, self.channels)]


class Features:
    """The features of a forward pass, in order."""

    def __init__(self, spectra: bool, square: bool) -> None:
        """Takes whether features are reduced to spectra, and whether the images are square."""
        self.found: list[Feature] = []
        self._spectra = spectra
        self._square = square

    def see(self, name: str, value: Tensor) -> None:
        """Adds a feature that a module has just returned."""
        cut(value)
        edge = get_gradient_edge(value) if value.requires_grad else None
        axis = channel_axis(value.shape, self._square)
        with _disable_current_modes():  # those that watch the model's operators
            matrix = covariance(pixels(value.detach(), axis)) if self._spectra else None
        self.found.append(Feature(name, value.shape, value.dtype, axis, edge, matrix))


# ---- channels --------------------------------------------------------------------------------


def channel_axis(shape: torch.Size, square: bool) -> int:
    """The axis of the channels: 1 of maps ``[B, C, H, W]``, the last of tokens ``[B, T, D]``.

    Some transformers pass maps ``[B, H, W, C]`` on. Where images are square, maps are square too,
    which distinguishes the two.
    """
    if len(shape) == 4 and square and shape[1] == shape[2] != shape[3]:
        return 3
    return 2 if len(shape) == 3 else 1


def pixels(value: Tensor, axis: int) -> Tensor:
    """``[pixels or tokens, channels]`` of a feature with channels on an axis."""
    return value.movedim(axis, -1).reshape(-1, value.shape[axis])


# ---- where the features are ------------------------------------------------------------------


@contextmanager
def record_features(
    model: nn.Module, names: tuple[str, ...] | None, features: Features
) -> Iterator[None]:
    """Inside the block, a forward pass of the model reports its features, in their order.

    Raises:
        ValueError: a name is no module of the model, a named module is not called exactly once, or
            no blocks were found by rule.
    """
    with ExitStack() as hooks:
        chosen = blocks(model) if names is None else names
        modules = [_named(model, name) for name in chosen]
        if names is None:
            before = _before(chosen[0], features)
            hooks.callback(modules[0].register_forward_pre_hook(before, with_kwargs=True).remove)
        for name, module in zip(chosen, modules, strict=True):
            hooks.callback(module.register_forward_hook(_after(name, features)).remove)
        yield
    _check_calls(names, features)


def _before(name: str, features: Features) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, args: Any, named: Any) -> None:
        first = next(iter((*args, *named.values())), None)
        if isinstance(first, Tensor) and first.grad_fn is not None:
            features.see(f"input of {name}", first)  # an image has no grad_fn: no feature

    return hook


def _after(name: str, features: Features) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, args: Any, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{name} returns a {type(value).__name__}, and a feature is a tensor; name other "
                "modules with features="
            )
        check_untransformed(module, value)
        features.see(name, value)

    return hook


def _check_calls(names: tuple[str, ...] | None, features: Features) -> None:
    calls = Counter(feature.name for feature in features.found)
    for name in calls if names is None else names:
        if calls[name] != 1:
            raise ValueError(
                f"{name} was called {calls[name]} times in one forward pass, and a feature is the "
                "output of one call; name other modules with features="
            )
    if len(calls) < 2:
        raise ValueError(
            f"{len(calls)} features were found, and at least 2 are needed; name the modules with "
            "features="
        )


def _named(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ValueError(f"features names {name!r}, which is no module of the model") from None
