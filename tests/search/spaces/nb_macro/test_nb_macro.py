"""NAS-Bench-Macro: the strings, the networks, and the published table."""

import itertools
from collections import Counter
from random import Random

import pandas as pd
import pytest
from scipy.stats import chisquare
from torch import nn

from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw.search.spaces.nb_macro import NBMacro
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = NBMacro()
cases = pytest.mark.parametrize("case", golden.networks("nbmacro"), ids=lambda case: case["arch"])


class TestNBMacro(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return NBMacro(channels=4, classes=3, resolution=8)


@cases
def test_networks_are_the_published_ones(case):
    model = SPACE.build(case["arch"])
    kinds = {"convs": nn.Conv2d, "linears": nn.Linear, "batchnorms": nn.BatchNorm2d}
    golden.assert_published_modules(model, case, kinds)
    for mode in ("train", "eval"):
        model = SPACE.build(case["arch"]).train(mode == "train")
        golden.assert_published_logits(model, 32, case[f"{mode}_logits"])


@cases
def test_costs_are_the_published_ones(case):
    cost = SPACE.cost(case["arch"])
    assert (cost.layers, cost.parameters) == (case["tensors"], case["params"])
    assert cost.flops == case["macs_32"] == golden.flops(SPACE.build(case["arch"]), 32)


@needs_data
def test_every_row_of_the_published_table_has_our_cost():
    table = pd.read_csv(DATA / "nb_macro_cifar10.csv.gz", dtype={"arch": str})
    assert list(table["arch"]) == list(SPACE.architectures())
    costs = [SPACE.cost(arch) for arch in table["arch"]]
    assert [cost.parameters for cost in costs] == list(table["params"])
    assert [cost.flops for cost in costs] == list(table["flops"])


def test_an_identity_at_the_head_of_a_stage_is_a_strided_convolution_without_activation():
    stage = SPACE.build("00000000").stages
    assert [type(layer) for layer in stage[0][0]] == [nn.Conv2d, nn.BatchNorm2d]
    assert stage[0][0].conv.stride == (2, 2)
    assert [len(layers) for layers in stage] == [1, 1, 1]


@pytest.mark.parametrize(
    ("architecture", "network"),
    [
        ("02012100", "02012100"),
        ("00112022", "00112022"),
        ("10102001", "10120010"),
        ("00101021", "00110021"),
        ("22212202", "22212220"),
    ],
)
def test_identities_move_to_the_end_of_their_stage_but_not_from_its_head(architecture, network):
    assert SPACE.canonical(architecture) == network


def test_equal_networks_are_built_from_the_same_layers_with_the_same_names():
    shapes = [
        [(name, tensor.shape) for name, tensor in SPACE.build(arch).named_parameters()]
        for arch in ("22212202", "22212220")
    ]
    assert shapes[0] == shapes[1]


def test_6561_strings_denote_3969_networks():
    sizes = Counter(Counter(map(SPACE.canonical, SPACE.architectures())).values())
    assert sizes == {1: 2025, 2: 1620, 4: 324}


def test_samples_are_uniform_over_networks_or_strings():
    random = Random(0)
    counts = Counter(SPACE.sample(random) for _ in range(40_000))
    assert all(SPACE.canonical(arch) == arch for arch in counts)
    stages = Counter(arch[2:5] for arch in counts.elements())
    assert len(stages) == 21
    assert chisquare(list(stages.values())).pvalue > 1e-4
    strings = Counter(NBMacro(draw="strings").sample(random)[2:5] for _ in range(20_000))
    assert len(strings) == 27
    assert chisquare(list(strings.values())).pvalue > 1e-4


def test_a_mutation_changes_one_layer_and_always_the_network():
    random = Random(0)
    neighbours = {SPACE.mutate("00100021", random) for _ in range(1000)}
    assert len(neighbours) == 16
    for arch in itertools.islice(SPACE.architectures(), 0, None, 50):
        child = SPACE.mutate(arch, random)
        assert sum(a != b for a, b in zip(arch, child, strict=True)) == 1
        assert SPACE.canonical(child) != SPACE.canonical(arch)


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("01201201", "01201201"),
        ("[0, 1, 2, 0, 1, 2, 0, 1]", "01201201"),
        ("(0,1,2,0,1,2,0,1)", "01201201"),
        ("0", "00000000"),
        ("5", "00000012"),
        ("6560", "22222222"),
    ],
)
def test_strings_lists_and_rows_of_the_table_are_read(text, architecture):
    assert SPACE.parse(text) == architecture


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("0123", "layer 3 of '0123': unknown operation '3'"),
        ("0120120", "has 7 digits, not 8"),
        ("012012012", "has 9 digits, not 8"),
        (12, "not int: 12"),
    ],
)
def test_a_bad_string_is_refused_by_layer(wrong, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.validate(wrong)


def test_an_index_that_is_no_row_is_refused():
    with pytest.raises(ArchitectureError, match="unknown operation '6'"):
        SPACE.parse("6561")


def test_features_leave_out_layers_that_compute_nothing():
    names = SPACE.features(SPACE.build("00000102"))
    assert names == ("stem", "stages.0.0", "stages.1.0", "stages.2.0", "stages.2.1", "last")


def test_layers_are_described():
    assert SPACE.describe("12000000").splitlines()[:3] == [
        "0: MB3_K3 32 -> 64 /2",
        "1: MB6_K5 64 -> 64",
        "2: conv 1x1 64 -> 128 /2",
    ]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 7}, "resolution must be an integer of at least 8, got 7"),
        ({"classes": 0}, "classes must be an integer of at least 1, got 0"),
        ({"draw": "x"}, "draw must be networks or strings, got 'x'"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        NBMacro(**sizes)
