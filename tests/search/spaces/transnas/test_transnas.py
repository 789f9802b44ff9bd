"""TransNAS-Bench-101: the strings, their order, the encoder, and its cost."""

import json
from collections import Counter
from random import Random

import pandas as pd
import pytest
import torch
from scipy.stats import chisquare
from torch import nn

import vkdnw
from tests.search.spaces import golden
from tests.shared import DATA, golden_path, needs_data, needs_golden
from vkdnw.search.export.source import source
from vkdnw.search.spaces import transnas
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.transnas import TransNASMacro, TransNASMicro
from vkdnw.search.testing import SearchSpaceTests

MICRO, MACRO = TransNASMicro(), TransNASMacro()
CASES = json.loads((golden.FOLDER / "transnas.json").read_text())["cases"]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case["arch"])

TASKS = {
    "class_scene": {"classes": 63},
    "class_object": {"classes": 100},
    "room_layout": {"classes": 9},
    "jigsaw": {"classes": 1000, "tiles": 9},
}


def space_of(arch, **sizes):
    kind = TransNASMacro if arch.endswith("-basic") else TransNASMicro
    return kind(**sizes)


class TestTransNASMicro(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return TransNASMicro(channels=4, classes=3, resolution=33)


class TestTransNASMacro(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return TransNASMacro(channels=4, classes=3, resolution=33)


@cases
@pytest.mark.parametrize("task", TASKS)
def test_costs_are_those_of_the_published_network(case, task):
    published, tiles = case["tasks"][task], TASKS[task].get("tiles", 1)
    for side, at in published["at"].items():
        space = space_of(
            case["arch"], **TASKS[task], resolution=int(side) * (3 if tiles > 1 else 1)
        )
        cost = space.cost(case["arch"])
        assert cost.parameters == published["parameters"]
        assert cost.layers == published["parameter_tensors"]
        assert cost.flops == at["flops"]


@cases
def test_networks_are_the_published_ones(case):
    space = space_of(case["arch"])
    with torch.device("meta"):
        model = space.build(case["arch"])
    published = case["tasks"]["class_object"]
    assert sum(p.numel() for p in model.parameters()) == published["parameters"]
    assert len(list(model.parameters())) == published["parameter_tensors"]
    assert golden.count(model, nn.Conv2d) == case["encoder_convolutions"]
    shapes = []
    for name in space.features(model):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output: shapes.append(list(output.shape[1:]))
        )
    model(torch.zeros(2, 3, 64, 64, device="meta"))
    assert shapes == [shape for _, shape in case["shapes"]]


@cases
def test_flops_are_those_that_torch_counts_also_where_sides_are_odd(case):
    space = space_of(case["arch"], channels=8, resolution=70)
    assert space.cost(case["arch"]).flops == golden.flops(space.build(case["arch"]), 70)


@pytest.mark.parametrize(
    ("arch", "classes", "parameters", "mega_flops"),
    [
        ("64-433132-basic", 100, 5_083_780, 906.493184),
        ("64-3332-basic", 100, 1_014_532, 330.586752),
        ("64-433132-basic", 63, 5_074_271, None),
        ("64-232323-basic", 63, 23_810_143, None),
        ("64-41414-2_32_323", 100, None, 4662.880768),
        ("64-41414-3_11_212", 100, None, 1719.888384),
    ],
)
def test_the_formula_tensorwatch_gives_what_naslib_printed(arch, classes, parameters, mega_flops):
    cost = space_of(arch, classes=classes, formula="tensorwatch").cost(arch)
    assert parameters in (None, cost.parameters)
    assert mega_flops in (None, cost.flops / 1e6)
    assert cost.flops > space_of(arch, classes=classes).cost(arch).flops


# ---- strings ----------------------------------------------------------------------------------


def test_there_are_3256_structures_and_4096_cells():
    macro, micro = list(MACRO.architectures()), list(MICRO.architectures())
    assert (len(set(macro)), len(set(micro))) == (3256, 4096)
    assert macro[:3] == ["64-4111-basic", "64-2311-basic", "64-2131-basic"]
    assert macro[-1] == "64-113444-basic"
    assert (micro[0], micro[-1]) == ("64-41414-0_00_000", "64-41414-3_33_333")


@needs_golden("spaces/transnas_official_order.txt")
def test_the_order_is_the_official_one():
    official = golden_path("spaces/transnas_official_order.txt").read_text().split()
    assert [*MACRO.architectures(), *MICRO.architectures()] == official


@cases
def test_indices_and_tuples_are_read(case):
    space = space_of(case["arch"])
    assert transnas.official_index(case["arch"]) == case["official_index"]
    assert space.parse(str(case["official_index"])) == case["arch"]
    assert space.parse(case["naslib_tuple"]) == case["arch"]
    assert space.parse(case["arch"]) == case["arch"]


@needs_data
@pytest.mark.parametrize(("space", "file"), [(MICRO, "micro"), (MACRO, "macro")])
def test_the_published_table_has_every_architecture_once(space, file):
    table = pd.read_csv(DATA / f"transnas101_{file}.csv.gz")
    assert sorted(map(space.parse, table["naslib"])) == sorted(space.architectures())


@needs_data
def test_cells_without_a_connection_have_the_accuracy_of_a_constant():
    """So the digit 0 is none."""
    table = pd.read_csv(DATA / "transnas101_micro.csv.gz")
    dead = [not transnas.is_connected(MICRO.parse(text)) for text in table["naslib"]]
    assert sum(dead) == 169
    assert (table["class_scene"] < 7.5).tolist() == dead


def test_padded_tuples_of_the_macro_space_are_read():
    assert MACRO.parse("(4, 1, 1, 1, 0, 0)") == "64-4111-basic"


@pytest.mark.parametrize(
    ("space", "arch", "message"),
    [
        (MICRO, "", "expected '64-41414-1_23_103'"),
        (MICRO, 5, "5: expected"),
        (MICRO, "32-41414-1_23_103", "'32' must be 64"),
        (MICRO, "64-41415-1_23_103", "module 4 at position 7 is '5'"),
        (MICRO, "64-4141-1_23_103", "modules of a cell's network are 41414"),
        (MICRO, "64-41414-1_23_104", "cell at position 9 is '1_23_104'"),
        (MICRO, "64-41414-1_23_103\n", "cell at position 9"),
        (MICRO, "64-41414-basic", "cell at position 9"),
        (MICRO, "(1, 2, 3)", "expected six operations"),
        (MICRO, "100", "index 100: those of this space are 3256 to 7351"),
        (MACRO, "64-4111-1_23_103", "'1_23_103' must be 'basic'"),
        (MACRO, "64-411-basic", "has 3 modules; 4 to 6 are possible"),
        (MACRO, "64-2111-basic", "0 modules that halve the image .*; 1 to 4"),
        (MACRO, "64-334333-basic", "6 modules that halve the image"),
        (MACRO, "64-3111-basic", "0 modules that double the channels"),
        (MACRO, "(4, 0, 1, 1, 1, 0)", "zeros only at the end"),
        (MACRO, "3256", "those of this space are 0 to 3255"),
    ],
)
def test_what_is_no_architecture_is_refused_with_the_reason(space, arch, message):
    with pytest.raises(ArchitectureError, match=message):
        space.parse(arch)


# ---- equality, sampling, mutation -------------------------------------------------------------


def test_4096_cells_are_2952_networks_of_equal_cost():
    networks = {arch: MICRO.canonical(arch) for arch in MICRO.architectures()}
    assert len(set(networks.values())) == 2952
    assert all(MICRO.canonical(network) == network for network in set(networks.values()))
    for arch, network in list(networks.items())[::7]:
        assert MICRO.cost(arch) == MICRO.cost(network)


@pytest.mark.parametrize(
    ("arch", "network"),
    [
        ("64-41414-0_31_101", "64-41414-0_30_101"),
        ("64-41414-3_21_000", "64-41414-2_30_000"),
        ("64-41414-3_20_012", "64-41414-2_30_021"),
        ("64-41414-1_00_000", "64-41414-0_10_000"),
    ],
)
def test_cells_that_are_equal(arch, network):
    assert MICRO.canonical(arch) == network
    assert TransNASMicro(as_written=True).canonical(arch) == arch


def test_equal_cells_compute_the_same_with_the_same_weights():
    space = TransNASMicro(channels=4, classes=3, resolution=32)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    arch, network = "64-41414-3_20_012", "64-41414-2_30_021"
    model, twin = space.build(arch).double(), space.build(network).double()
    exchanged = {"1<-0": "2<-0", "2<-0": "1<-0", "3<-1": "3<-2", "3<-2": "3<-1"}

    def renamed(name):
        parts = name.split(".")
        return ".".join(exchanged.get(part, part) for part in parts)

    twin.load_state_dict({renamed(name): t for name, t in model.state_dict().items()})
    torch.testing.assert_close(twin(images), model(images), rtol=1e-10, atol=1e-10)


def test_samples_are_uniform_but_those_of_naslib():
    random = Random(0)
    uniform = Counter(len(MACRO.sample(random)) for _ in range(4000))
    shares = [210 / 3256, 750 / 3256, 2296 / 3256]
    observed = [uniform[len("64--basic") + length] for length in (4, 5, 6)]
    assert chisquare(observed, [4000 * share for share in shares]).pvalue > 1e-3
    naslib = TransNASMacro(sampler="naslib")
    lengths = Counter(len(naslib.sample(random)) for _ in range(3000))
    assert chisquare(list(lengths.values())).pvalue > 1e-3


def test_mutations_reach_every_neighbour():
    random = Random(0)
    assert len({MICRO.mutate("64-41414-1_23_103", random) for _ in range(500)}) == 18
    neighbours = {MACRO.mutate("64-4111-basic", random) for _ in range(2000)}
    assert {"64-4112-basic", "64-41114-basic", "64-2311-basic"} - neighbours == {"64-2311-basic"}
    assert {len(arch) for arch in neighbours} == {13, 14}
    assert len({len(MACRO.mutate("64-12343-basic", random)) for _ in range(200)}) == 3


# ---- traps ------------------------------------------------------------------------------------


def test_the_batch_norm_of_a_shortcut_has_the_benchmarks_eps_and_momentum():
    norms = dict(MACRO.build("64-4111-basic").named_modules())
    shortcut = norms["encoder.module0.0.shortcut.bn"]
    assert (shortcut.eps, shortcut.momentum) == (1.0, 1.0)
    others = [m for m in norms.values() if isinstance(m, nn.BatchNorm2d) and m is not shortcut]
    assert {(m.eps, m.momentum) for m in others} == {(1e-5, 0.1)}
    usual = TransNASMacro(shortcut_norm="usual").build("64-4111-basic")
    assert usual.get_submodule("encoder.module0.0.shortcut.bn").eps == 1e-5


def test_a_skip_connection_has_parameters_where_the_image_is_halved():
    cell = MICRO.build("64-41414-1_11_111").get_submodule("encoder.module0")
    assert sum(p.numel() for p in cell[0].edge["1<-0"].parameters()) == 64 * 128 + 2 * 128
    assert not list(cell[1].parameters())


def test_the_shifted_half_of_a_skip_connection_reads_zeros_beyond_an_odd_side():
    skip = MICRO.build("64-41414-1_11_111").get_submodule("encoder.module0.0.edge.1<-0").eval()
    x = torch.randn(1, 64, 5, 5)
    y = skip(x)
    assert y.shape == (1, 128, 3, 3)
    shifted = torch.zeros(1, 64, 6, 6)
    shifted[:, :, :4, :4] = x.relu()[:, :, 1:, 1:]
    expected = nn.functional.conv2d(shifted, skip.conv_shifted.weight, stride=2) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(y[:, 64:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arch", ["64-41414-0_00_000", "64-41414-3_00_000", "64-41414-0_03_003"])
def test_a_cell_without_a_connection_is_scored(arch):
    space = TransNASMicro(channels=4, classes=3, resolution=32)
    model, images = space.build(arch).eval(), torch.randn(2, 3, 32, 32)
    constant = model(images)
    torch.testing.assert_close(constant[0], constant[1])
    assert vkdnw.score(model, images).layers == space.cost(arch).layers
    assert "torch.zeros_like" in source(model, arch)


def test_nothing_follows_the_sum_of_a_block():
    model = TransNASMacro(channels=4, classes=3).build("64-4111-basic").eval()
    assert (model.encoder(torch.randn(2, 3, 32, 32)) < 0).any()


def test_nine_tiles_are_read_one_by_one():
    space = TransNASMicro(channels=4, classes=5, resolution=96, tiles=9)
    model = space.build("64-41414-1_23_103").eval()
    images = torch.randn(2, 3, 96, 96)
    tiles = torch.stack(
        [
            images[:, :, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32]
            for i in range(3)
            for j in range(3)
        ],
        dim=1,
    )
    read = torch.cat([model.encoder(tile) for tile in tiles.unbind(1)], dim=1)
    torch.testing.assert_close(model(images), model.head(read))
    torch.testing.assert_close(model(tiles), model(images))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"tiles": 4}, "tiles must be 1 or 9, got 4"),
        ({"channels": 7}, "channels must be even, got 7"),
        ({"tiles": 9, "resolution": 64}, "multiple of 3 with 9 tiles, got 64"),
        ({"formula": "thop"}, "formula must be exact or tensorwatch"),
        ({"shortcut_norm": "none"}, "shortcut_norm must be benchmark or usual"),
        ({"sampler": "grid"}, "sampler must be uniform or naslib"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        TransNASMacro(**sizes)


def test_describes_edges_and_modules():
    assert MICRO.describe("64-41414-1_23_103").splitlines()[:3] == [
        "1<-0 skip",
        "2<-0 conv1x1",
        "2<-1 conv3x3",
    ]
    assert MACRO.describe("64-4111-basic").splitlines()[:2] == [
        "2 residual blocks: double channels, halve image",
        "2 residual blocks: keep",
    ]
