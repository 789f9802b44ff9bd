"""Initialisation of a model, done only when asked for."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from vkdnw.runtime.members import modules_of

SCHEMES = ("kaiming_normal", "normal")


def initialise(model: nn.Module, scheme: str = "kaiming_normal", *, seed: int) -> nn.Module:
    """Draws a model's weights anew, in place, and returns it.

    ``kaiming_normal`` is the paper's: weights of convolutions and linear layers from a normal
    distribution of variance 2 / fan-in (He et al., 2015), their biases zero; normalisation layers
    to weight 1, bias 0, running mean 0 and running variance 1. Other parameters keep their
    values. ``normal`` differs in that those weights have variance 1 (Zen-NAS).

    The draw depends on the seed alone: it is made on the CPU in float32 by a generator of its own,
    in the order of ``model.modules()``, whatever the model's device and dtype; the global random
    state is left alone.

    Raises:
        ValueError: unknown scheme, or a layer whose weight is computed from other parameters; the
            model is unchanged.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme={scheme!r} is not known; choose from {', '.join(SCHEMES)}")
    modules = modules_of(model)
    for name, module in modules.items():
        if isinstance(module, _ConvNd | nn.Linear) and "weight" not in module._parameters:
            raise ValueError(
                f"{name or 'model'} ({type(module).__name__}) has a weight that is computed from "
                "others (weight_norm, spectral_norm, pruning); remove that first, and put it back "
                "afterwards"
            )
    generator = torch.Generator(device="cpu").manual_seed(seed)
    with torch.no_grad():
        for module in modules.values():
            if isinstance(module, _ConvNd | nn.Linear):
                _draw(module, scheme, generator)
            elif isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm):
                _neutral(module)
    return model


def _draw(module: _ConvNd | nn.Linear, scheme: str, generator: torch.Generator) -> None:
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(module.weight)
    deviation = 1.0 if scheme == "normal" else math.sqrt(2.0 / fan_in)
    weight = module.weight
    if weight.is_cpu and weight.dtype == torch.float32 and weight.is_contiguous():
        weight.normal_(generator=generator).mul_(deviation)  # the same bits, without a copy
    else:
        weight.copy_(torch.randn(weight.shape, generator=generator, device="cpu") * deviation)
    if module.bias is not None:
        module.bias.zero_()


def _neutral(module: _NormBase | nn.LayerNorm | nn.GroupNorm) -> None:
    if isinstance(module, _NormBase):
        module.reset_running_stats()
    if module.weight is not None:
        module.weight.fill_(1.0)
    if module.bias is not None:
        module.bias.zero_()
