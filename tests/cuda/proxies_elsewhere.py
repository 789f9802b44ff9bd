"""Every proxy on a device that is not the CPU, without a GPU.

`python -m tests.cuda.proxies_elsewhere` prints as JSON, for each network and proxy, the value on
the CPU and the one there, or the error; and the result for one Jacobian.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import vkdnw
from tests.cuda import other_device
from tests.cuda.other_device import DEVICE
from tests.proxies.networks import transformer
from vkdnw import proxies
from vkdnw.backward.tape_compiler import TAPE_DEVICES
from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.convolution import winograd_weights
from vkdnw.per_sample import known_layers, problem
from vkdnw.per_sample.reverse_mode.batched_vjp import AT_ONCE
from vkdnw.proxies import Inputs
from vkdnw.proxies.methods import BUILT_IN
from vkdnw.score_group import score_group
from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.tasks import Task

NAMES = [each.name for each in BUILT_IN]
CELL_OF_NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
FEW = [name for name in NAMES if "vkdnw_" not in name and "fisher_" not in name]
"""Without those that ask vkdnw.score for another choice of scalars."""
CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|"
DENSE = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
CLASSES = 4
Values = dict[str, list[Any]]


def cells() -> nn.Module:
    return nb201.build(CELL, channels=8, cells=1, classes=CLASSES)


def disconnected() -> nn.Module:
    """Without a path through any cell: matrices of zeros."""
    return nb201.build(CELL_OF_NOTHING, channels=8, cells=1, classes=CLASSES)


class Scaled(nn.Module):
    """Layers with a product with a number between them."""

    static_graph = True

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.last(self.body(x) * 0.5))
        return logits


class Undeclared(nn.Module):
    """A network whose class does not say that its graph is static."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def inputs() -> Inputs:
    source = torch.Generator().manual_seed(1)

    def images() -> Tensor:
        return torch.randn(8, 3, 8, 8, generator=source)

    labels = torch.arange(8) % CLASSES
    return Inputs(
        noise=images(),
        images=images(),
        labels=labels,
        second_images=images(),
        second_labels=labels.flip(0),
        size=(100.0, 10.0),
    )


def both(build: Callable[[], nn.Module], names: Sequence[str]) -> Values:
    """``[value on the CPU, value there, error]`` of each proxy."""
    torch.manual_seed(0)
    here = vkdnw.initialise(build(), seed=0)
    there = copy.deepcopy(here).to(DEVICE)
    found: Values = {}
    for name in names:
        expected = proxies.compute([name], here, inputs(), seed=0)[name]
        try:
            value = proxies.compute([name], there, inputs().to(DEVICE), seed=0)[name]
            found[name] = [expected.value, value.value, ""]
        except Exception as error:
            found[name] = [expected.value, None, f"{type(error).__name__}: {error}"]
    return found


def searched() -> Values:
    """The same of a search's scorer, which builds the network and computes all values together."""
    unlabelled = [name for name in FEW if proxies.proxy(name).labels != "real"]
    configuration, task = Configuration(batch_size=8), Task(CELL, 0, tuple(unlabelled))
    space = NB201(channels=8, cells=1, classes=CLASSES, resolution=8)
    scored = [Scorer(space, configuration, device)(task) for device in ("cpu", DEVICE)]
    (again,) = Scorer(space, configuration, DEVICE, at_once=8).together([task])
    assert again is not None
    assert str(again.values) == str(scored[1].values)
    return {name: [each.values[name] for each in scored] + [""] for name in task.names}


def taped(build: Callable[[], nn.Module]) -> dict[str, Any]:
    """A Jacobian there: its largest error, the scalars that fell back, runs of tapes."""
    runs: list[int] = []

    def run(*arguments: Any) -> None:
        runs.append(1)
        backpropagate_on_cpu(*arguments)

    other_device.REPLACED["vkdnw::backpropagate_"] = run
    here = vkdnw.initialise(build(), seed=0).eval()
    there, x = copy.deepcopy(here).to(DEVICE), inputs().noise
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = vkdnw.jacobian(there, x.to(DEVICE)).cpu()
    expected = vkdnw.jacobian(here, x)
    error = (found - expected).abs().max() / expected.abs().max()
    fallbacks = [str(each.message) for each in said if each.category is vkdnw.FallbackWarning]
    return {"error": float(error), "fallbacks": fallbacks, "runs": len(runs)}


def waits(wrap: Callable[[nn.Module], nn.Module]) -> list[int]:
    """How often a score waits for the device: of a network, and of one of three times as many
    layers."""
    counts = []
    for cells in (1, 3):
        model = nb201.build(DENSE, channels=8, cells=cells, classes=CLASSES)
        model = wrap(vkdnw.initialise(model, seed=0)).eval().to(DEVICE)
        x = inputs().noise.to(DEVICE)
        other_device.WAITS.clear()
        vkdnw.score(model, x)
        counts.append(other_device.WAITS.total())
    return counts


def together() -> dict[str, Any]:
    """Networks scored together there: whether as each alone, and runs of tapes."""
    architectures = (DENSE, CELL, DENSE)
    models = [nb201.build(each, channels=8, cells=1, classes=CLASSES) for each in architectures]
    models = [vkdnw.initialise(m, seed=seed).eval().to(DEVICE) for seed, m in enumerate(models)]
    x = inputs().noise.to(DEVICE)
    expected = [vkdnw.score(model, x) for model in models]
    runs: list[int] = []

    def run(*arguments: Any) -> None:
        runs.append(1)
        backpropagate_on_cpu(*arguments)

    other_device.REPLACED["vkdnw::backpropagate_"] = run
    return {"equal": score_group(models, x) == expected, "runs": len(runs)}


def backpropagate_on_cpu(*arguments: Any) -> None:
    """A device's tape: the CPU's but for the weights of 3x3 convolutions, [Co, 3, 3, Ci] there."""
    planes, cotangents, weights, *others = arguments
    layers = {row[3]: row[0] for row in others[5].tolist() if row[3] >= 0}
    weights = [
        winograd_weights(each.permute(0, 3, 1, 2)) if layers[i] == Layer.CONV3X3 else each
        for i, each in enumerate(weights)
    ]
    torch.ops.vkdnw.backpropagate_(planes, cotangents, weights, *others)


def refusals() -> list[str]:
    """The device's errors for a mixture of devices, and for a draw."""
    there, said = torch.ones(2, device=DEVICE), []
    for wrong in (
        lambda: there + torch.ones(2),
        lambda: torch.randn(2, device=DEVICE),
        lambda: there.numpy(),
    ):
        try:
            wrong()
        except (AssertionError, TypeError) as error:
            said.append(type(error).__name__)
    return said


if __name__ == "__main__":
    other_device.register()
    problem.check_device = lambda model: None  # which knows the CPU and CUDA
    AT_ONCE[DEVICE] = AT_ONCE["cuda"]
    TAPE_DEVICES.add(DEVICE)
    known_layers.PLAIN.add(other_device._Elsewhere)
    other_device.REPLACED["vkdnw::backpropagate_"] = backpropagate_on_cpu
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", vkdnw.LowRankWarning)
    warnings.simplefilter("ignore", vkdnw.FallbackWarning)
    json.dump(
        {
            "refusals": refusals(),
            "static": taped(cells),
            "recorded": taped(lambda: Undeclared(cells())),
            "scaled": taped(Scaled),
            "scaled, recorded": taped(lambda: Undeclared(Scaled())),
            "waits": {"static": waits(lambda each: each), "recorded": waits(Undeclared)},
            "together": together(),
            "cells": both(cells, NAMES),
            "disconnected": both(disconnected, FEW),
            # Attention is one operator on the CPU and several there. Searches count on the CPU.
            "transformer": both(transformer, [name for name in FEW if name != "capacity"]),
            "search": searched(),
        },
        sys.stdout,
    )
