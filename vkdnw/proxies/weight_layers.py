"""Layers that weight-based proxies look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from vkdnw.weights import MULTIPLYING

NORMALISATION = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def multiplying_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions, linear, attention and recurrent layers, by parameter name.

    Biases and the parameters of normalisation are left out; tied weights come once.

    Raises ValueError where there are none, or where a layer computes its weight on each call, as
    with ``torch.nn.utils.parametrize`` or ``weight_norm``.
    """
    named = dict(model.named_parameters())
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, MULTIPLYING)
    }
    for name, module in layers.items():
        _refuse_computed_weights(name, module)
    found = {
        name: named[name]
        for prefix, module in layers.items()
        for name, parameter in module.named_parameters(prefix, recurse=False)
        if "weight" in name.rpartition(".")[2] and parameter.dim() > 1 and name in named
    }
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no convolution, linear or recurrent layer with a weight "
            "of its own, over which this proxy sums"
        )
    return found


def _refuse_computed_weights(name: str, module: nn.Module) -> None:
    """Refuses a layer whose weights are not its parameters."""
    computed = list(getattr(module, "parametrizations", ()))  # by torch.nn.utils.parametrize
    computed += [
        parameter.removesuffix(ending)
        for parameter in module._parameters
        for ending in ("_v", "_orig", "_mu")  # by hooks: weight_norm, spectral_norm, pruning
        if parameter.endswith(ending)
    ]
    if isinstance(module, _ConvNd | nn.Linear | nn.Bilinear) and "weight" not in module._parameters:
        computed.append("weight")
    weights = [each for each in computed if "weight" in each]
    if weights:
        raise ValueError(
            f"{name or type(module).__name__} ({type(module).__name__}) computes its {weights[0]} "
            "on each call, so its parameters are not the weights that this proxy sums over; make "
            "it a parameter first (torch.nn.utils.parametrize.remove_parametrizations, "
            "remove_weight_norm, prune.remove)"
        )


# ---- normalisation left out ------------------------------------------------------------------


@contextmanager
def without_normalisation(model: nn.Module) -> Iterator[None]:
    """Inside the block, torch's normalising functions return their input, in every caller.

    Some modules normalise and apply an activation: the activation is kept. Within ``model``, a call
    raises ValueError where a normalisation layer does not use torch's function for it, or is
    scripted.
    """
    mode = _IdentityForNorms()
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule) and module.original_name in _SCRIPTED:
                raise ValueError(
                    f"{name} ({module.original_name}) is scripted, and this proxy leaves "
                    "normalisation out, which it cannot do there; pass the model as it was before "
                    "torch.jit.script"
                )
            if isinstance(module, NORMALISATION):
                enter, leave = _checked(name, module, mode)
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
        hooks.enter_context(mode)
        yield


_SCRIPTED = frozenset(
    f"{kind}{ending}"
    for kind in ("BatchNorm", "InstanceNorm", "LayerNorm", "GroupNorm", "RMSNorm", "SyncBatchNorm")
    for ending in ("", "1d", "2d", "3d")
)
Hook = Callable[..., None]


def _checked(name: str, module: nn.Module, mode: _IdentityForNorms) -> tuple[Hook, Hook]:
    """Hooks that check that a layer's normalisation was left out."""
    before: list[int] = []

    def enter(*_: Any) -> None:
        before.append(mode.met)

    def leave(*_: Any) -> None:
        if mode.met == before.pop():
            raise ValueError(
                f"{name} ({type(module).__name__}) normalises where it is not seen (by operations "
                "of its own, or in a reentrant checkpoint), and this proxy leaves normalisation "
                "out; call torch.nn.functional's function for it there"
            )

    return enter, leave


class _IdentityForNorms(TorchFunctionMode):
    """Inside the block, torch's normalising functions return their input."""

    def __init__(self) -> None:
        super().__init__()
        self.met = 0  # calls

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _NORMS:
            self.met += 1
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


_NORMS = frozenset(
    {
        F.batch_norm,
        F.group_norm,
        F.instance_norm,
        F.layer_norm,
        F.rms_norm,
        torch.batch_norm,
        torch.group_norm,
        torch.instance_norm,
        torch.layer_norm,
        torch.rms_norm,
    }
)
