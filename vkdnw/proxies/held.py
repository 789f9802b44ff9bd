"""A model in the state that a proxy asks for, and as it was found afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import nn

import vkdnw.initialisation
from vkdnw.precision import float32_on
from vkdnw.preserve import preserved

Mode = Literal["train", "eval", "none"]
Init = Literal["kaiming_normal", "normal", "none"]


@contextmanager
def held(model: nn.Module, mode: Mode, init: Init, seed: int) -> Iterator[None]:
    """Sets the mode, draws the weights anew unless ``init`` is ``"none"``, and puts all back.

    On the way out weights, buffers, modes, ``requires_grad`` flags and the random state are what
    they were. Inside, gradients are recorded, autocast is off, float32 on a GPU is not rounded to
    TF32, and the global random state (that of dropout) follows from the seed.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = list(model.parameters())
    drawn = parameters if init != "none" else []
    weights = [parameter.detach().clone() for parameter in drawn]
    devices = {parameter.device.type for parameter in parameters} | {"cpu"}
    with preserved(model), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        try:
            if init != "none":
                vkdnw.initialisation.initialise(model, init, seed=seed)
            if mode != "none":
                model.train(mode == "train")
            with _without_autocast(sorted(devices)), _exact_float32(parameters):
                yield
        finally:
            for module, training in modes:
                if module.training != training:  # assigning takes torch longer than asking
                    module.training = training
            with torch.no_grad():
                for parameter, value in zip(drawn, weights, strict=True):
                    parameter.copy_(value)


@contextmanager
def _without_autocast(devices: list[str]) -> Iterator[None]:
    if not devices:
        yield
        return
    with torch.autocast(devices[0], enabled=False), _without_autocast(devices[1:]):
        yield


def _exact_float32(parameters: list[nn.Parameter]) -> AbstractContextManager[None]:
    device = parameters[0].device if parameters else torch.device("cpu")
    return float32_on(device, tf32=False)
