"""The MnasNet space: the strings, the networks, and Accel-NASBench's table."""

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pandas as pd
import pytest
from torch import nn

from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw.search.spaces.mnasnet import MnasNet
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = MnasNet()
EFFICIENTNET_B0 = "e1666666_k3353553_l1223341_s1111111"
cases = pytest.mark.parametrize("case", golden.networks("mnasnet"), ids=lambda case: case["arch"])


class TestMnasNet(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return MnasNet(classes=3, resolution=32, target_classes=3, target_resolution=32)


@cases
def test_networks_are_the_published_ones(case):
    model = SPACE.build(case["arch"]).eval()
    kinds = {"convs": nn.Conv2d, "linears": nn.Linear, "batchnorms": nn.BatchNorm2d}
    golden.assert_published_modules(model, case, kinds)
    golden.assert_published_logits(model, 64, case["eval_logits"])


@cases
def test_costs_are_the_published_ones(case):
    cost = SPACE.cost(case["arch"])
    assert (cost.layers, cost.parameters, cost.flops) == (
        case["tensors"],
        case["params"],
        case["macs_224"],
    )
    assert replace(SPACE, target_resolution=32).cost(case["arch"]).flops == case["macs_32"]
    table = replace(SPACE, formula="table").cost(case["arch"])
    assert table.flops == case["macs_table_formula_224"]


@needs_data
def test_every_row_of_the_published_table_has_our_cost():
    """To the six digits that the table has."""
    table = pd.read_csv(DATA / "mnasnet_imagenet.csv.gz")
    space = replace(SPACE, formula="table")
    costs = [space.cost(arch) for arch in table["arch"]]
    assert len(costs) == 5138
    assert [float(f"{cost.parameters / 1e6:.6g}") for cost in costs] == list(table["mparams"])
    assert [float(f"{cost.flops / 1e6:.6g}") for cost in costs] == list(table["mmacs"])


@pytest.mark.parametrize("resolution", [32, 45])
def test_flops_are_those_that_torch_counts(resolution):
    space = MnasNet(target_classes=10, target_resolution=resolution)
    cost = space.cost(EFFICIENTNET_B0)
    assert cost.flops == golden.flops(space.build(EFFICIENTNET_B0), resolution)


def test_squeezed_channels_are_a_quarter_of_the_blocks_input():
    block = SPACE.build(EFFICIENTNET_B0).stages[2][1].residual
    assert block.expand.conv.weight.shape[:2] == (240, 40)
    assert block.excite.gate.squeeze.weight.shape[:2] == (10, 240)


def test_an_expansion_of_1_leaves_the_first_convolution_out_of_every_stage():
    stages = SPACE.build("e1111111_k3333333_l3333343_s0000000").stages
    blocks = [block.residual for stage in stages for block in stage]
    assert all(not hasattr(block, "expand") for block in blocks)


def test_first_blocks_have_no_shortcut_and_later_ones_do():
    stages = SPACE.build("e6666666_k5555555_l2222222_s0000000").stages
    assert [[block.shortcut for block in stage] for stage in stages] == [[False, True]] * 7


def test_silu_is_an_option():
    kinds = {type(module) for module in MnasNet(activation="silu").build(EFFICIENTNET_B0).modules()}
    assert {nn.SiLU, nn.Sigmoid} <= kinds
    assert not {nn.ReLU, nn.Hardsigmoid} & kinds


def test_samples_are_uniform_in_every_field():
    random = Random(0)
    samples = [SPACE.sample(random) for _ in range(4000)]
    fifth = Counter(arch.split("_")[2][1:][5] for arch in samples)
    assert set(fifth) == set("1234")
    assert max(fifth.values()) < 1100
    first = Counter(arch[1] for arch in samples)
    assert set(first) == set("146")
    assert max(first.values()) < 1450


def test_a_mutation_changes_one_digit():
    random = Random(0)
    children = {SPACE.mutate(EFFICIENTNET_B0, random) for _ in range(2000)}
    assert len(children) == 7 * (2 + 1 + 2 + 1) + 1
    for child in children:
        assert sum(a != b for a, b in zip(EFFICIENTNET_B0, child, strict=True)) == 1


def test_the_benchmarks_configurations_are_read():
    fields = EFFICIENTNET_B0.split("_")
    configuration = {
        f"block{i}_{name}": fields[place][1 + i]
        for place, name in enumerate(("e", "k", "l"))
        for i in range(7)
    }
    configuration |= {f"block{i}_se": True for i in range(7)}
    assert SPACE.parse(json.dumps(configuration)) == EFFICIENTNET_B0
    del configuration["block3_k"]
    with pytest.raises(ArchitectureError, match="block3_k"):
        SPACE.parse(json.dumps(configuration))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("e1666666_k3353553_l1223341", "has not the form e<7 digits>_k"),
        ("e166666_k3353553_l1223341_s1111111", r"expansion \(e\): 6 digits, not one for each"),
        ("e1666266_k3353553_l1223341_s1111111", r"expansion \(e\): '2' in stage 4 is not among"),
        ("e1666666_k3353553_l1243341_s1111111", r"number of blocks \(l\): '4' in stage 2 is not"),
        ("e1666666_k3353553_l1223341_s1111112", r"squeeze-and-excitation \(s\): '2' in stage 6"),
        (7, "not int: 7"),
    ],
)
def test_a_bad_string_is_refused_by_field_and_stage(wrong, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.validate(wrong)


def test_stages_are_described():
    assert SPACE.describe(EFFICIENTNET_B0).splitlines()[2] == "2: 2 x MB6_K5 SE 24 -> 40 /2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 31}, "resolution must be an integer of at least 32, got 31"),
        ({"activation": "gelu"}, "activation must be relu or silu, got 'gelu'"),
        ({"formula": "released"}, "formula must be exact or table, got 'released'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MnasNet(**options)
