"""The PiT space: strings, the published networks, draws."""

import json
import math
from dataclasses import replace
from random import Random

import pandas as pd
import pytest
import torch
from torch import nn

from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw import proxies
from vkdnw.search.spaces.pit import PiT
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = PiT()
CASES = [case for case in golden.networks("vit") if case["space"] == "autoprox-pit"]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case["arch"])
ARCH = "16:6:2-8-4:2-4-4"


class TestPiT(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return PiT(classes=3, resolution=32, target_classes=3, target_resolution=32)


@cases
def test_networks_are_the_published_ones(case):
    model = SPACE.build(case["arch"]).eval()
    kinds = {"convs": nn.Conv2d, "linears": nn.Linear, "layernorms": nn.LayerNorm}
    golden.assert_published_modules(model, case, kinds)
    golden.assert_published_logits(model, 64, case["eval_logits_64px_10classes"])


@cases
def test_costs_are_the_published_ones(case):
    cost = SPACE.cost(case["arch"])
    assert (cost.layers, cost.parameters, cost.flops) == (
        case["tensors"],
        case["params"],
        case["macs"],
    )
    small = replace(SPACE, target_classes=10, target_resolution=64)
    assert small.cost(case["arch"]).flops == golden.flops(SPACE.build(case["arch"]), 64)


def test_parameters_are_those_of_the_module_at_the_target():
    target = replace(SPACE, classes=100, resolution=224)
    for architecture in list(SPACE.architectures())[::97]:
        with torch.device("meta"):
            tensors = list(target.build(architecture).parameters())
        cost = SPACE.cost(architecture)
        assert cost.layers == len(tensors) == 16 + 12 * (len(list(_blocks(architecture))))
        assert cost.parameters == sum(tensor.numel() for tensor in tensors)


def _blocks(architecture):
    depths = architecture.split(":")[2].split("-")
    return range(sum(map(int, depths)))


def test_the_grid_is_halved_twice():
    model, shapes = SPACE.build(ARCH), []
    for pooling in model.poolings:
        pooling.patches.register_forward_hook(lambda *call: shapes.append(call[2].shape))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert shapes == [(1, 64, 4, 4), (1, 64, 2, 2)]


def test_trainability_is_undefined_because_poolings_give_grids_without_a_whole_ratio():
    model = SPACE.build(ARCH)
    found = proxies.compute(
        ["trainability", "expressivity"],
        model,
        proxies.Inputs(noise=torch.randn(2, 3, 64, 64)),
        seed=0,
        features=SPACE.features(model),
    )
    assert math.isnan(found["trainability"].value)
    assert "[50] and [17] pixels" in found["trainability"].reason
    assert math.isfinite(found["expressivity"].value)


def test_all_1600_are_listed_once():
    listed = list(SPACE.architectures())
    assert len(set(listed)) == 1600
    for architecture in listed:
        SPACE.validate(architecture)


def test_a_mutation_changes_one_field():
    random = Random(0)
    children = {SPACE.mutate(ARCH, random) for _ in range(2000)}
    assert len(children) == 3 + 3 + 9 + 9
    for child in children:
        pairs = zip(ARCH.split(":"), child.split(":"), strict=True)
        assert sum(a != b for a, b in pairs) == 1


def test_the_published_notation_is_read():
    published = {"base_dim": 16, "mlp_ratio": 6, "depth": [2, 8, 4], "num_heads": [2, 4, 4]}
    assert SPACE.parse(json.dumps(published)) == SPACE.parse(ARCH) == ARCH


@needs_data
def test_every_architecture_of_auto_proxs_table_is_read():
    table = pd.read_csv(DATA / "vit_autoprox.csv.gz").query("space == 'pit'")
    assert len({SPACE.parse(text) for text in table["arch"]}) == 100


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("16:6:2-8-4", "has not the form HEAD_WIDTH:RATIO:"),
        ("17:6:2-8-4:2-4-4", "head width '17' not among 16, 24, 32, 40"),
        ("16:3:2-8-4:2-4-4", "ratio '3' not among"),
        ("16:6:2-8-5:2-4-4", "depths '2-8-5' not among"),
        ("16:6:2-8-4:8-4-4", "heads '8-4-4' not among"),
        (16, "not int: 16"),
    ],
)
def test_a_bad_string_is_refused_by_field(wrong, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.validate(wrong)


def test_a_bad_notation_is_refused():
    with pytest.raises(ArchitectureError, match="no published form of a network: 'depth'"):
        SPACE.parse('{"base_dim": 16, "mlp_ratio": 6}')


def test_stages_are_described():
    assert SPACE.describe(ARCH).splitlines()[1] == (
        "1: 8 blocks, width 64, 4 heads, perceptron 384, 14 x 14 patches"
    )


@pytest.mark.parametrize("sizes", [{"resolution": 15}, {"target_resolution": 0}])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="must be an integer of at least 16"):
        PiT(**sizes)
