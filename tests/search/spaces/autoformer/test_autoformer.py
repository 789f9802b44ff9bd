"""The AutoFormer spaces: strings, the published networks under one encoding, draws."""

import json
from collections import Counter
from dataclasses import replace
from random import Random

import pandas as pd
import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw.search.spaces.autoformer import AutoFormerB, AutoFormerS, AutoFormerT
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.transformer import TABLE_ROWS
from vkdnw.search.testing import SearchSpaceTests

SPACES = {
    "autoformer-tiny": AutoFormerT(wide_menu=True),
    "autoformer-small": AutoFormerS(),
    "autoformer-base": AutoFormerB(),
    "autoprox-autoformer": AutoFormerT(network="autoprox", target_classes=100),
}
SMALLEST = "192:" + "-".join(["3x3.5"] * 12)
MIXED = "192:" + "-".join(["3x3.5", "4x4"] * 6)
PUBLISHED_T = golden.networks("vit")[3]["arch"]

CASES = [case for case in golden.networks("vit") if case["space"] in SPACES]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case["arch"][:16])
with_logits = pytest.mark.parametrize(
    "case", [c for c in CASES if "eval_logits_64px_10classes" in c], ids=lambda c: c["arch"][:16]
)


class TestAutoFormerT(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return AutoFormerT(classes=3, resolution=32)

    def costed(self, space, architecture):
        sizes = {"classes": space.target_classes, "resolution": space.target_resolution}
        with torch.device("meta"):
            return replace(space, **sizes).build(architecture)


class TestAutoprox(TestAutoFormerT):
    @pytest.fixture
    def space(self):
        return AutoFormerT(classes=3, resolution=32, network="autoprox")


# ---- the published networks ----------------------------------------------------------------------


@cases
def test_costs_are_the_published_ones(case):
    space = SPACES[case["space"]]
    cost = space.cost(case["arch"])
    assert (cost.layers, cost.parameters, cost.flops) == (
        case["tensors"],
        case["params"],
        case["macs"],
    )
    if "flops_released" in case:
        released = replace(space, formula="released").cost(case["arch"])
        assert released == replace(cost, flops=int(case["flops_released"]))
        absolute = replace(space, network="autoformer_absolute").cost(case["arch"])
        assert absolute.parameters == case["params_without_relative"]
        assert absolute.layers == case["tensors_without_relative"]
    if "table" in case:
        assert cost.parameters / 1e6 == case["table"]["params"]
        assert released.flops / 1e6 == case["table"]["flops"]


@cases
def test_modules_are_as_many_as_published(case):
    with torch.device("meta"):
        model = SPACES[case["space"]].build(case["arch"])
    kinds = {"convs": nn.Conv2d, "linears": nn.Linear, "layernorms": nn.LayerNorm}
    golden.assert_published_modules(model, case, kinds)


@with_logits
def test_logits_are_the_published_ones(case):
    model = SPACES[case["space"]].build(case["arch"]).eval()
    golden.assert_published_logits(model, 64, case["eval_logits_64px_10classes"])


@pytest.mark.parametrize(
    "network", ["autoformer", "autoformer_absolute", "autoprox", "autoprox_supernet"]
)
def test_flops_are_those_that_torch_counts(network):
    space = AutoFormerT(network=network, target_classes=10, target_resolution=64)
    assert space.cost(MIXED).flops == golden.flops(space.build(MIXED), 64)


def test_three_networks_share_an_encoding():
    """Their tables of accuracies must not be mixed."""
    sizes = {
        name: AutoFormerT(network=name).cost(MIXED)
        for name in ("autoformer", "autoprox", "autoprox_supernet")
    }
    assert len({cost.parameters for cost in sizes.values()}) == 3
    # In Auto-Prox's network, trained from scratch, heads change the function but no size.
    other = MIXED.replace("4x4", "3x4")
    assert AutoFormerT(network="autoprox").cost(other) == sizes["autoprox"]
    assert AutoFormerT(network="autoformer").cost(other) != sizes["autoformer"]
    # Its supernet's queries, keys and values have no bias.
    attention = AutoFormerT(network="autoprox_supernet").build(MIXED).blocks[0].attention
    assert attention.qkv.bias is None


def test_the_class_token_is_not_pooled():
    """It takes part in attention only: with no block after it, it changes no logit."""
    model = AutoFormerT(resolution=32).build(SMALLEST).eval()
    seen = []
    model.head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.norm.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(seen[1], seen[0][:, 1:].mean(1))


# ---- relative positions --------------------------------------------------------------------------


def test_relative_positions_are_key_minus_query_and_0_for_the_class_token():
    table = AutoFormerT(resolution=64).build(SMALLEST).blocks[0].attention.key_positions
    pairs = table()
    side = 4
    assert pairs.shape == (1 + side**2, 1 + side**2, 64)
    for query, key in ((0, 5), (5, 0), (0, 0)):
        torch.testing.assert_close(pairs[query, key], table.vertical[0] + table.horizontal[0])
    query, key = (0, 1), (3, 0)  # row and column: three below, one to the left
    found = pairs[1 + side * query[0] + query[1], 1 + side * key[0] + key[1]]
    torch.testing.assert_close(found, table.vertical[15 + 3] + table.horizontal[15 - 1])


def test_the_farthest_rows_of_the_tables_are_never_read_at_224():
    with torch.device("cpu"):
        attention = AutoFormerT(resolution=224).build(SMALLEST).blocks[0].attention
    read = attention.key_positions.vertical_index.unique()
    assert len(attention.key_positions.vertical) == TABLE_ROWS == 30
    assert sorted(set(range(30)) - set(read.tolist())) == [1, 29]


# ---- strings -------------------------------------------------------------------------------------


def test_published_notations_are_read():
    space = AutoFormerT()
    ratios, heads = [3.5, 4.0] * 6, [3, 4] * 6
    auto_prox = {"hidden_dim": 192, "mlp_ratio": ratios, "depth": 12, "num_heads": heads}
    ood = {"layer_num": 12, "mlp_ratio": ratios, "num_heads": heads, "embed_dim": [192] * 12}
    candidate = (12, *ratios, *heads, 192)
    for text in (MIXED, json.dumps(auto_prox), json.dumps(ood), str(candidate)):
        assert space.parse(text) == MIXED


@needs_data
def test_every_architecture_of_auto_proxs_table_is_read():
    table = pd.read_csv(DATA / "vit_autoprox.csv.gz").query("space == 'autoformer'")
    read = [AutoFormerT().parse(text) for text in table["arch"]]
    assert len(set(read)) == 200


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("192", "has not the form WIDTH:HEADSxRATIO"),
        ("200:" + SMALLEST[4:], "width 200 is not among 192, 216, 240"),
        (SMALLEST.replace("3x3.5", "5x3.5", 1), "block 0 of .*: heads 5 is not among 3, 4"),
        (SMALLEST + "-4x3", "block 12 of .*: ratio 3 is not among 3.5, 4"),
        (SMALLEST + "-4x4.0", "block 12 of .*: ratio 4.0 is not among"),
        (SMALLEST + "-4", "block 12 of .*: '4' has not the form HEADSxRATIO"),
        (SMALLEST[:-6], "number of blocks 11 is not among 12, 13, 14"),
        (192, "not int: 192"),
    ],
)
def test_a_bad_string_is_refused_by_block(wrong, message):
    with pytest.raises(ArchitectureError, match=message):
        AutoFormerT().validate(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('{"hidden_dim": 192}', "no published form of a network: 'layer_num'"),
        ("(12, 3.5, 3, 192)", "4 numbers, not 26 for a depth of 12"),
        ('{"layer_num": 1, "mlp_ratio": [4], "num_heads": [3], "embed_dim": [1, 2]}', "widths"),
    ],
)
def test_a_bad_notation_is_refused(wrong, message):
    with pytest.raises(ArchitectureError, match=message):
        AutoFormerT().parse(wrong)


def test_what_the_published_networks_have_beside_the_menu_is_an_option():
    with pytest.raises(ArchitectureError, match="ratio 3 "):
        AutoFormerT().validate(PUBLISHED_T)
    AutoFormerT(wide_menu=True).validate(PUBLISHED_T)
    eight = "528:" + "-".join(["8x3"] * 14)
    with pytest.raises(ArchitectureError, match="heads 8"):
        AutoFormerB().validate(eight)
    AutoFormerB(wide_menu=True).validate(eight)


def test_blocks_are_described():
    assert AutoFormerT().describe(MIXED).splitlines()[1] == "1: width 192, 4 heads, perceptron 768"


# ---- draws ---------------------------------------------------------------------------------------


def depths(space, count):
    random = Random(0)
    return Counter(space.sample(random).count("-") + 1 for _ in range(count))


def test_samples_are_uniform_over_architectures_or_over_depths():
    uniform, published = depths(AutoFormerT(), 4000), depths(AutoFormerT(draw="published"), 4000)
    kinds = 4  # of a block
    expected = [4000 * kinds**i / (1 + kinds + kinds**2) for i in range(3)]
    assert chisquare([uniform[12], uniform[13], uniform[14]], expected).pvalue > 1e-4
    assert chisquare([published[12], published[13], published[14]]).pvalue > 1e-4


def test_mutations_differ_from_their_parent_and_stay_in_the_search_menu():
    random = Random(0)
    space = AutoFormerT(wide_menu=True)
    children = [space.mutate(PUBLISHED_T, random) for _ in range(300)]
    assert PUBLISHED_T not in children
    changed = Counter(child.partition(":")[0] for child in children)
    assert set(changed) == {"192", "216", "240"}
    assert {child.count("-") + 1 for child in children} == {12, 13, 14}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 16}, "resolution must be an integer of at least 32, got 16"),
        ({"target_resolution": 225}, "target_resolution must be a multiple of 16, got 225"),
        ({"network": "vit"}, "network must be autoformer or autoformer_absolute or autoprox"),
        ({"formula": "x"}, "formula must be exact or released, got 'x'"),
        ({"formula": "released", "network": "autoprox"}, "counts the network 'autoformer' only"),
        ({"draw": "x"}, "draw must be uniform or published, got 'x'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AutoFormerT(**options)
