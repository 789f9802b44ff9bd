"""Puts a model into the state that a proxy requires, and restores it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import nn

import vkdnw.initialisation
from vkdnw.runtime.model_state import Parts
from vkdnw.runtime.precision import float32_on

ModelMode = Literal["train", "eval", "none"]
Init = Literal["kaiming_normal", "normal", "none"]


@contextmanager
def proxy_state(
    model: nn.Module, parts: Parts, mode: ModelMode, init: Init, seed: int
) -> Iterator[None]:
    """Sets the mode, draws the weights anew unless ``init`` is ``"none"``, and puts both back.

    The rest of the model is restored by :func:`vkdnw.runtime.model_state.preserved`. Inside,
    gradients are recorded, autocast is off, float32 on a GPU is not rounded to TF32, and the global
    random state (that of dropout) follows from the seed.
    """
    with torch.inference_mode(False), torch.enable_grad():
        modes = [module.training for module in parts.modules]
        drawn = parts.parameters if init != "none" else []
        weights = [parameter.detach().clone() for parameter in drawn]
        devices = {parameter.device.type for parameter in parts.parameters} | {"cpu"}
        _seed(seed, devices)
        try:
            if init != "none":
                vkdnw.initialisation.initialise(model, init, seed=seed)
            if mode != "none":
                _set_mode(model, parts.modules, mode == "train")
            with _without_autocast(sorted(devices)), _exact_float32(parts.parameters):
                yield
        finally:
            for module, training in zip(parts.modules, modes, strict=True):
                _set_training(module, training)
            with torch.no_grad():
                for parameter, value in zip(drawn, weights, strict=True):
                    parameter.copy_(value)


def _seed(seed: int, devices: set[str]) -> None:
    """Seeds the generators of the CPU and of the model's other devices."""
    if devices == {"cpu"}:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes longer
    else:
        torch.manual_seed(seed)


def _set_mode(model: nn.Module, modules: list[nn.Module], training: bool) -> None:
    """``model.train(training)``, which takes as long as a layer does on each small module."""
    kinds = {type(module) for module in modules}
    if any(kind.train is not nn.Module.train for kind in kinds) or any(
        "train" in vars(module) for module in modules
    ):
        model.train(training)  # a class of the caller's may keep some modules in a mode
        return
    for module in modules:
        _set_training(module, training)


def _set_training(module: nn.Module, training: bool) -> None:
    """Sets the mode of one module, where it differs."""
    if module.training == training:
        return
    own = vars(module)
    if "training" in own:
        own["training"] = training  # past torch's __setattr__, which looks for tensors first
    else:
        module.training = training  # of a scripted module, or a property


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
