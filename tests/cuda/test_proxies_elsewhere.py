"""Every proxy runs on the device of its model, and draws its random numbers on the CPU.

Without a GPU: on a device that computes on the CPU, but refuses tensors of another device and
random draws, as in `other_device.py`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vkdnw.proxies.methods import BUILT_IN

ROUNDING = 1e-3
"""On a CPU layers are native ones, elsewhere torch's: float32 through some dozens of layers, and
ZiCo's ratios of differences, which are heavy-tailed."""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.cuda.proxies_elsewhere"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    values: dict[str, Any] = json.loads(run.stdout)
    return values


def test_the_device_refuses_what_cuda_would(found: dict[str, Any]) -> None:
    assert found["refusals"] == ["MixedDevicesError", "DrawnThereError", "TypeError"]


@pytest.mark.parametrize("graph", ["static", "recorded", "scaled", "scaled, recorded"])
def test_a_jacobian_runs_on_a_tape_there(graph: str, found: dict[str, Any]) -> None:
    """The tables and layouts that a GPU gets, read as its kernel reads them."""
    assert found[graph]["runs"] == 1
    assert found[graph]["fallbacks"] == []
    assert found[graph]["error"] <= 1e-5


@pytest.mark.parametrize("graph", ["static", "recorded"])
def test_the_host_does_not_wait_layer_by_layer(graph: str, found: dict[str, Any]) -> None:
    few, many = found["waits"][graph]
    assert few == many


def test_a_static_graph_is_not_probed_there(found: dict[str, Any]) -> None:
    assert 0 < found["waits"]["static"][0] < found["waits"]["recorded"][0]


def test_networks_together_have_the_bits_of_each_alone(found: dict[str, Any]) -> None:
    assert found["together"] == {"equal": True, "runs": 1}


@pytest.mark.parametrize("where", ["cells", "disconnected", "transformer", "search"])
@pytest.mark.parametrize("name", [each.name for each in BUILT_IN])
def test_a_proxy_has_the_value_of_the_cpu(where: str, name: str, found: dict[str, Any]) -> None:
    if name not in found[where]:
        pytest.skip("there it is not asked for")
    expected, value, error = found[where][name]
    assert not error
    if math.isfinite(expected):
        assert value == pytest.approx(expected, rel=ROUNDING)
    else:
        assert str(value) == str(expected)
