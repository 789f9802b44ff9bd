"""Every proxy on a GPU: the published golden values, and the CPU's value where there is none."""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import vkdnw
from tests.cuda.proxies_elsewhere import CELL, cells, inputs
from tests.proxies.golden import CASES, golden
from tests.proxies.networks import transformer
from tests.proxies.test_golden import NAMES, tolerance
from vkdnw import proxies
from vkdnw.proxies import Value
from vkdnw.proxies.methods import BUILT_IN
from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.tasks import Task

pytestmark = pytest.mark.gpu


@functools.cache
def on_device(case: str, dtype: torch.dtype, weights: str, device: torch.device) -> nn.Module:
    return copy.deepcopy(golden(case, dtype, weights).model).to(device)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", [*NAMES, "zen"])
@pytest.mark.parametrize("case", CASES)
def test_published_value(case: str, name: str, dtype: torch.dtype, device: torch.device) -> None:
    weights = "weights_gauss.npz" if name == "zen" else "weights.npz"
    network = golden(case, dtype, weights)
    found = proxies.compute(
        [name], on_device(case, dtype, weights, device), network.inputs.to(device), seed=0,
        convention="released", features=network.features,
    )[name].value  # fmt: skip
    expected = network.scores[NAMES.get(name, name)]
    if math.isfinite(expected):
        assert found == pytest.approx(expected, abs=tolerance(name, dtype, expected))
    else:
        assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("build", [cells, transformer])
@pytest.mark.parametrize("name", [each.name for each in BUILT_IN])
def test_float64_agrees_with_the_cpu(build, name: str, device: torch.device) -> None:
    """Convolutions sum in another order: 1e-6 leaves ZiCo's ratios of differences room."""
    torch.manual_seed(0)
    model = vkdnw.initialise(build(), seed=0).double()
    given = replace(
        inputs(),
        **{key: getattr(inputs(), key).double() for key in ("noise", "images", "second_images")},
    )

    def value(where: torch.device | str) -> Value:
        return proxies.compute([name], model.to(where), given.to(where), seed=0)[name]

    expected, found = value("cpu"), value(device)
    if math.isfinite(expected.value):
        assert found.value == pytest.approx(expected.value, rel=1e-6)
    else:
        assert str(found) == str(expected)


def test_a_search_computes_there_what_it_computes_on_the_cpu(device: torch.device) -> None:
    space = NB201(channels=8, cells=1, classes=4, resolution=8)
    configuration = Configuration(batch_size=16, dtype="float64")
    names = tuple(each.name for each in BUILT_IN if each.labels != "real")
    task = Task(CELL, 0, names)
    expected, found = (Scorer(space, configuration, where)(task) for where in ("cpu", str(device)))
    assert found.reasons == expected.reasons
    for name, value in expected.values.items():
        assert found.values[name] == pytest.approx(value, rel=1e-6, nan_ok=True), name
