"""Every proxy against values of the authors' published code (golden/README.md).

Tolerances are those that come with the golden values; where the definition departs from the
published code, the published convention is the one that is compared.
"""

from __future__ import annotations

import math

import pytest
import torch

from tests.proxies.golden import CASES, golden
from tests.shared import needs_golden
from vkdnw import proxies

NAMES = {  # ours -> the golden file's
    "grad_norm": "grad_norm",
    "grasp": "grasp",
    "snip": "snip",
    "synflow": "synflow",
    "jacov": "jacov",
    "naswot": "naswot",
    "gradsign": "gradsign",
    "zico": "zico",
    "ntk": "ntk",
    "expressivity": "az_expressivity",
    "progressivity": "az_progressivity",
    "trainability": "az_trainability",
}
SAME_IN_BOTH = {"grasp", "snip", "synflow", "jacov", "naswot", "trainability"}
"""Without a released convention of their own; the others differ in value or where undefined."""

ABSOLUTE_IN_FLOAT32 = {"progressivity": 1e-4, "zico": 2.5}


def tolerance(name: str, dtype: torch.dtype, expected: float) -> float:
    if dtype == torch.float32:
        return ABSOLUTE_IN_FLOAT32.get(name, 1e-3 * abs(expected))
    return 1e-6 * abs(expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_published_value(case: str, dtype: torch.dtype) -> None:
    network = golden(case, dtype)
    found = proxies.compute(
        NAMES, network.model, network.inputs, seed=0, convention="released",
        features=network.features,
    )  # fmt: skip
    wrong = []
    for name, published in NAMES.items():
        expected, value = network.scores[published], found[name].value
        if math.isfinite(expected):
            agrees = abs(value - expected) <= tolerance(name, dtype, expected)
        else:
            agrees = value == expected or (math.isnan(value) and math.isnan(expected))
        if not agrees:
            wrong.append(f"{name}: {value}, published {expected}")
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("case", CASES)
def test_conventions_agree_where_the_published_code_is_right(case: str) -> None:
    network = golden(case, torch.float64)
    names = [*sorted(SAME_IN_BOTH), "grad_norm"]
    options = {"seed": 0, "features": network.features}
    default = proxies.compute(names, network.model, network.inputs, **options)
    released = proxies.compute(
        names, network.model, network.inputs, convention="released", **options
    )
    for name in SAME_IN_BOTH:
        assert str(default[name]) == str(released[name])
    assert default["grad_norm"] != released["grad_norm"]


def test_proxies_with_a_released_convention_say_what_it_changes() -> None:
    for name in NAMES:
        assert (proxies.proxy(name).released is None) == (name in SAME_IN_BOTH), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_zen(case: str, dtype: torch.dtype) -> None:
    network = golden(case, dtype, "weights_gauss.npz")
    found = proxies.zen(network.model, network.inputs, convention="released")
    expected = network.scores["zen"]
    if math.isinf(expected):
        assert found.value == -math.inf
        assert found.reason == "the last feature map does not change with the input"
    else:
        assert found.value == pytest.approx(expected, abs=tolerance("zen", dtype, expected))
    assert proxies.zen(network.model, network.inputs).value != found.value or math.isinf(expected)


@pytest.mark.parametrize("case", CASES)
def test_linear_region(case: str) -> None:
    network = golden(case, torch.float64)
    found = proxies.linear_region(network.model, network.inputs.perturbation)
    assert found.value == network.scores["linear_region"]


@needs_golden("s3_pools")
def test_parts_of_the_published_values() -> None:
    # Scores are sums over layers: parts that cancel would not show in them.
    network = golden("s3_pools", torch.float64)
    norms = network.arrays["gradnorm_per_tensor"]
    weights = [parameter.dim() > 1 for parameter in network.model.parameters()]
    expected = float(norms[torch.tensor(weights)].sum())
    found = proxies.grad_norm(network.model, network.inputs)
    assert found.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gradsign_sums_what_the_published_code_takes_the_mean_of(case: str) -> None:
    network = golden(case, torch.float64)
    weights = sum(p.numel() for p in network.model.parameters() if p.dim() > 1)
    found = proxies.gradsign(network.model, network.inputs)
    assert found.value == pytest.approx(weights * network.scores["gradsign"], rel=1e-6)


def test_a_disconnected_network_says_why_it_has_no_value() -> None:
    network = golden("s5_all_none", torch.float64)
    names = ("jacov", "naswot", "expressivity", "progressivity", "zico", "ntk", "zen")
    found = proxies.compute(names, network.model, network.inputs, seed=0)
    for name, value in found.items():
        if name in ("naswot", "ntk", "zen"):
            assert value.value == -math.inf, name
        else:
            assert math.isnan(value.value), name
        assert value.reason


@pytest.mark.parametrize("case", CASES)
def test_blocks_found_by_rule_are_the_cells(case: str) -> None:
    network = golden(case, torch.float64)
    by_rule = proxies.expressivity(network.model, network.inputs)
    named = proxies.expressivity(network.model, network.inputs, features=network.features)
    assert str(by_rule.value) == str(named.value)
