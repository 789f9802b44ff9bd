"""Proxies of one's own: registered by a decorator, an entry point, or named by their place."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from vkdnw import proxies
from vkdnw.proxies.registry import PROXIES
from vkdnw.search.requested_values import resolve
from vkdnw.testing import ProxyTests

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_proxy.py"


@pytest.fixture(scope="module", autouse=True)
def own_proxy() -> Iterator[ModuleType]:
    """The example, imported; afterwards its proxies are unknown again."""
    sys.path.insert(0, str(EXAMPLE.parent))
    try:
        yield import_module(EXAMPLE.stem)
    finally:
        sys.path.remove(str(EXAMPLE.parent))
        sys.modules.pop(EXAMPLE.stem)
        for name in [name for name, each in PROXIES.items() if each.origin == EXAMPLE.stem]:
            PROXIES.remove(name)


class TestConfidence(ProxyTests):
    name = "confidence"


class TestWidestFeature(ProxyTests):
    name = "own_proxy:widest_feature"


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def test_a_registered_proxy_is_a_function_of_the_module_too() -> None:
    batch = torch.randn(2, 3, 2, 2)
    value = proxies.confidence(model(), batch)
    assert math.isfinite(value.value)
    assert "standard deviation of their logits" in (proxies.confidence.__doc__ or "")
    assert "confidence" in dir(proxies)
    assert PROXIES["confidence"].origin == "own_proxy"


def test_a_proxy_is_named_by_its_place() -> None:
    name = "own_proxy:confidence"
    batch = torch.randn(2, 3, 2, 2)
    found = proxies.compute([name], net := model(), proxies.Inputs(noise=batch), seed=0)
    assert found == {name: proxies.confidence(net, batch)}
    assert resolve(f"{name},naswot") == (name, "naswot")
    with pytest.raises(ValueError, match="own_proxy:main is no proxy: decorate it"):
        proxies.proxy("own_proxy:main")
    with pytest.raises(ValueError, match=r"'nowhere_at_all:f' cannot be imported: No module named"):
        proxies.proxy("nowhere_at_all:f")


def test_refusals() -> None:
    def naswot(call: proxies.Call) -> float:
        return 0.0

    with pytest.raises(ValueError, match=r"naswot of .*: vkdnw\.proxies\.methods\.naswot has one"):
        proxies.register()(naswot)
    with pytest.raises(ValueError, match=r"register\(inputs=\.\.\.\): Proxy has no such field"):
        proxies.register(inputs="noise")(naswot)
    with pytest.raises(ValueError, match="'my-proxy': a name is an identifier"):
        proxies.register(name="my-proxy")(naswot)


def test_a_number_that_is_not_finite_gets_a_reason() -> None:
    @proxies.register(input="none", mode="none", init="none", cost="none")
    def infinite_for_this_test(call: proxies.Call) -> float:
        return math.inf

    try:
        assert proxies.infinite_for_this_test(model()).reason == "the network's numbers overflow"
    finally:
        PROXIES.remove("infinite_for_this_test")


def test_entry_points_are_found(tmp_path: Path) -> None:
    """Another package, as an installer lays it out."""
    (tmp_path / "others.py").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vkdnw.proxies]\nothers = others\nbroken = nowhere_at_all\n"
    )
    program = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    from vkdnw import proxies\n"
        "    print(proxies.names()[-2:], proxies.proxy('confidence').origin)\n"
        "    print(len(seen), seen[0].message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "('confidence', 'widest_feature') others" in done.stdout
    assert "the proxies of nowhere_at_all (entry point broken) are left out" in done.stdout


def test_the_example_runs(own_proxy: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    own_proxy.main()
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["confidence", "widest_feature", "expressivity", "naswot"]
