"""The DARTS space: notations, networks of either style, and NASLib's tables."""

import json
import math
from itertools import permutations
from random import Random

import pandas as pd
import pytest
import torch
from torch import nn

import vkdnw
from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw.search.spaces import darts
from vkdnw.search.spaces.darts import DARTS, Architecture, Edge
from vkdnw.search.spaces.darts.architecture import (
    AVERAGE_POOL,
    MAX_POOL,
    NONE,
    SEP_3X3,
    SKIP,
)
from vkdnw.search.spaces.darts.cost import Macro, network_cost
from vkdnw.search.spaces.darts.network import build
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = DARTS()
CASES = json.loads((golden.FOLDER / "darts.json").read_text())["cases"]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])

SKIPS = "|".join(["skip_connect~0+skip_connect~1"] * 4)
SECOND_ORDER = CASES[0]["arch"]


def read(text):
    return darts.parse(darts.read(text))


def macro_of(sizes):
    style = "darts" if sizes["affine"] else "naslib"
    return Macro(sizes["channels"], sizes["layers"], sizes["classes"], style)


class TestDARTS(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return DARTS(channels=2, cells=3, classes=3, resolution=8)


class TestNASLibStyleAndSwapCells(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return DARTS(channels=2, cells=1, classes=3, resolution=8, style="naslib", sampler="swap")


# ---- networks and costs -----------------------------------------------------------------------


@cases
def test_networks_are_the_published_ones(case):
    sizes = case["sizes"]
    model = build(
        read(case["arch"]), macro_of(sizes), sizes["in_channels"], auxiliary=sizes["auxiliary"]
    )
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == case["parameters_with_auxiliary"]
    assert len(parameters) == case["tensors_with_auxiliary"]
    assert [list(p.shape) for p in parameters[:12]] == case["first_12_shapes"]
    assert [list(p.shape) for p in parameters[-2:]] == case["last_2_shapes"]
    with torch.no_grad():
        logits = fill(model).eval()(images(sizes))[:, :3]
    published = torch.tensor(case["eval_logits_float64"], dtype=torch.float64)
    torch.testing.assert_close(logits, published, rtol=1e-9, atol=1e-9)


@cases
def test_costs_are_the_published_ones(case):
    sizes = case["sizes"]
    image = (sizes["in_channels"], *sizes["resolution"])
    architecture, macro = read(case["arch"]), macro_of(sizes)
    cost = network_cost(architecture, macro, image)
    assert cost.parameters == case["parameters_without_auxiliary"]
    assert cost.layers == case["tensors_without_auxiliary"]
    assert cost.flops == case["multiply_adds"]
    tool = network_cost(architecture, macro, image, "tensorwatch")
    assert tool.flops == case["tensorwatch_flops"]


@torch.no_grad()
def fill(model):
    """The values of the golden file's `fill`."""
    model.double()
    for n, (name, parameter) in enumerate(model.named_parameters()):
        k = torch.arange(parameter.numel(), dtype=torch.float64)
        values = torch.sin(0.37 * k + 0.11 * n).view_as(parameter)
        if parameter.dim() > 1:
            values *= math.sqrt(2 / parameter[0].numel())
        else:
            values = 0.1 * values + name.endswith("weight")
        parameter.copy_(values)
    return model


def images(sizes):
    shape = (2, sizes["in_channels"], *sizes["resolution"])
    return torch.sin(0.01 * torch.arange(math.prod(shape), dtype=torch.float64)).view(shape)


@needs_data
@pytest.mark.parametrize(
    ("dataset", "classes", "image"),
    [("svhn", 10, (3, 32, 32)), ("scifar100", 100, (3, 60, 60)), ("ninapro", 18, (1, 16, 52))],
)
def test_parameters_and_flops_are_those_of_naslibs_table(dataset, classes, image):
    table = pd.read_csv(DATA / "nasbench301_new_tasks.csv.gz")
    macro = Macro(32, 8, classes, "naslib")
    costs = [network_cost(read(a), macro, image, "tensorwatch") for a in table["arch"]]
    digits = [float(f"{cost.flops / 1e6:.7g}") for cost in costs]
    assert [cost.parameters / 1e6 for cost in costs] == list(table[f"params_{dataset}"])
    assert digits == list(table[f"flops_{dataset}"])


@pytest.mark.parametrize("style", ["darts", "naslib"])
def test_flops_are_those_that_torch_counts(style):
    space = DARTS(channels=4, cells=4, classes=3, resolution=16, style=style, sampler="swap")
    arch = space.sample(Random(1))
    assert space.cost(arch).flops == golden.flops(space.build(arch), 16)


# ---- notations --------------------------------------------------------------------------------


@cases
def test_a_genotype_and_a_tuple_name_the_same_network(case):
    architecture = read(case["arch"])
    assert read(darts.genotype(architecture)) == architecture
    if "None" not in case["compact"]:
        assert read(case["compact"]) == architecture
        assert darts.compact(architecture) == case["compact"]
    assert darts.parse(darts.format(architecture)) == architecture


def test_range_is_a_list_of_states():
    assert read(SECOND_ORDER.replace("[2, 3, 4, 5]", "range(2, 6)")) == read(SECOND_ORDER)


def test_the_dict_of_nas_bench_301_is_read():
    """Edge K of 14 is the offset of its node, 0, 2, 5 or 9, and the state that it reads."""
    configuration = {}
    for cell in ("normal", "reduce"):
        prefix = "NetworkSelectorDatasetInfo:darts:"
        for state, first, sources in ((3, 2, (0, 2)), (4, 5, (1, 3)), (5, 9, (0, 4))):
            configuration[f"{prefix}inputs_node_{cell}_{state}"] = "_".join(map(str, sources))
            for source in sources:
                configuration[f"{prefix}edge_{cell}_{first + source}"] = "dil_conv_5x5"
        configuration[f"{prefix}edge_{cell}_0"] = "max_pool_3x3"
        configuration[f"{prefix}edge_{cell}_1"] = "skip_connect"
    cell = (
        "max_pool_3x3~0+skip_connect~1|dil_conv_5x5~0+dil_conv_5x5~2|"
        "dil_conv_5x5~1+dil_conv_5x5~3|dil_conv_5x5~0+dil_conv_5x5~4"
    )
    assert SPACE.parse(str(configuration)) == f"{cell}/{cell}"
    del configuration["NetworkSelectorDatasetInfo:darts:edge_reduce_9"]
    with pytest.raises(ArchitectureError, match="reduction cell, state 5: 'inputs_node_reduce_5'"):
        SPACE.parse(str(configuration))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"1 cell\(s\) separated by '/', not 2"),
        (5, "not int: 5"),
        (f"{SKIPS}/{SKIPS}\n", "reduction cell, state 5, edge 1: it reads '1\\\\n'"),
        (f"{SKIPS}/{SKIPS}|skip_connect~0+none~1", r"5 state\(s\)"),
        (
            f"{SKIPS.replace('~1', '~2', 1)}/{SKIPS}",
            "state 2, edge 1: it reads 2, not a state 0 to 1",
        ),
        (f"{SKIPS.replace('skip', 'jump', 1)}/{SKIPS}", "edge 0: unknown operation 'jump_connect'"),
        (f"{SKIPS.replace('+', '|', 1)}/{SKIPS}", r"normal cell .* has 5 state\(s\)"),
        ("((0, 1), (1, 2))", r"normal cell: 0 is no pair \(state, operation\)"),
        ("(((0, 9),), ())", r"\(0, 9\) is no pair .* an operation 0 to 6"),
        ("(((0, 1),), ())", "normal cell has 1 edges, not 8"),
        ("(1, 2, 3)", r"3 cell\(s\), not 2"),
        (
            SECOND_ORDER.replace("[2, 3, 4, 5]", "range(2, 7)", 1),
            r"normal_concat is \[2, 3, 4, 5, 6\]",
        ),
        (
            SECOND_ORDER.replace("sep_conv_3x3", "sep_conv_7x7", 1),
            "unknown operation 'sep_conv_7x7'",
        ),
        (SECOND_ORDER.replace("normal=", "plain="), "no genotype of normal, normal_concat"),
        ("Genotype(normal=[", "is no genotype"),
        (
            SECOND_ORDER.replace("('sep_conv_3x3', 0)", "exit()", 1),
            r"exit\(\), .* is no \(operation, state\)",
        ),
    ],
)
def test_what_is_no_architecture_is_refused_with_the_reason(text, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


# ---- equality ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", [case for case in CASES if "none" not in case["arch"]], ids=lambda case: case["name"]
)
def test_canonical_cells_are_the_published_ones(case):
    """The published form keeps the inputs of `none`, so cells with it are left out."""
    cells = darts.canonical(read(case["arch"]))
    found = [str(tuple(tuple(map(tuple, node)) for node in cell)) for cell in cells]
    assert found == case["canonical_cells"]


def renumbered(architecture, order):
    """Both cells with node `order[k]` in place k, where that can be computed in this order."""
    cells = []
    for cell in architecture:
        place = {0: 0, 1: 1} | {old + 2: new + 2 for new, old in enumerate(order)}
        nodes = [tuple(Edge(place[s], op) for s, op in cell[old])[::-1] for old in order]
        if any(edge.source >= new + 2 for new, node in enumerate(nodes) for edge in node):
            return None
        cells.append(tuple(nodes))
    return Architecture(*cells)


def test_equal_networks_compute_the_same_with_the_same_weights():
    macro = Macro(channels=2, cells=3, classes=3)
    twins = 0
    for arch in [SPACE.sample(Random(seed)) for seed in range(12)]:
        architecture = darts.parse(arch)
        for order in list(permutations(range(4)))[1:]:
            other = renumbered(architecture, order)
            if other is None:
                continue
            twins += 1
            assert darts.canonical(other) == darts.canonical(architecture)
            assert network_cost(other, macro) == network_cost(architecture, macro)
            model = build(architecture, macro).double().eval()
            twin = build(other, macro).double().eval()
            twin.load_state_dict(carried(model.state_dict(), order))
            x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
            torch.testing.assert_close(twin(x), model(x), rtol=1e-9, atol=1e-9)
            break
    assert twins > 3


def carried(state, order):
    """Weights of the renumbered network; its cells give their channels in the new order."""
    moved = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[2:3] == ["state"]:
            parts[3] = str(order.index(int(parts[3]) - 2) + 2)
            parts[4] = str(1 - int(parts[4]))
        conv = "conv.weight" in name or "conv_shifted.weight" in name
        first = parts[0] == "cells" and parts[1] in ("0", "1") and parts[2] == "input0"
        first |= name.startswith("cells.0.input1")
        if name == "head.fc.weight" or (".input" in name and conv and not first):
            pieces = tensor.chunk(4, dim=1)
            tensor = torch.cat([pieces[old] for old in order], dim=1)
        moved[".".join(parts)] = tensor
    return moved


def test_zeros_are_one_network():
    zeros = (Edge(0, NONE), Edge(0, NONE))
    sep = (Edge(0, SEP_3X3), Edge(1, SEP_3X3))

    def architecture(*nodes):
        return darts.canonical(Architecture(tuple(nodes), (sep, sep, sep, sep)))

    assert architecture((Edge(1, NONE), Edge(0, NONE)), sep, sep, sep) == architecture(
        zeros, sep, sep, sep
    )
    for operation in (MAX_POOL, AVERAGE_POOL, SKIP):
        of_zero = (Edge(2, operation), Edge(1, NONE))
        assert architecture(zeros, of_zero, sep, sep) == architecture(zeros, zeros, sep, sep)
    convolved = (Edge(2, SEP_3X3), Edge(2, SEP_3X3))
    assert architecture(zeros, convolved, sep, sep) != architecture(zeros, zeros, sep, sep)


@pytest.mark.parametrize("style", ["darts", "naslib"])
def test_networks_of_zeros_are_scored(style):
    space = DARTS(channels=2, cells=3, classes=3, resolution=8, style=style)
    zeros = "|".join(["none~0+none~0"] * 4)
    model = space.build(f"{zeros}/{zeros}").eval()
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(model(x), model.head.fc.bias.expand(2, 3))
    assert vkdnw.score(model, x).layers == space.cost(f"{zeros}/{zeros}").layers
    (model(x).sum()).backward()
    assert model.stem.conv.weight.grad is not None


# ---- sampling, settings, traps ----------------------------------------------------------------


def test_sources_are_different_unless_drawn_as_swap_does():
    random = Random(0)
    for _ in range(50):
        nodes = [node for cell in darts.parse(SPACE.sample(random)) for node in cell]
        assert all(first.source != second.source for first, second in nodes)
        assert NONE not in {edge.operation for node in nodes for edge in node}
    swap = DARTS(sampler="swap")
    drawn = [darts.parse(swap.sample(random)) for _ in range(200)]
    assert all(normal == reduction for normal, reduction in drawn)
    repeated = sum(any(a.source == b.source for a, b in normal) for normal, _ in drawn)
    assert 0.75 < repeated / 200 < 0.95


def test_a_mutation_is_another_network_with_one_edge_changed():
    random = Random(0)
    for _ in range(100):
        parent = SPACE.sample(random)
        child = SPACE.mutate(parent, random)
        edges = [
            [e for cell in darts.parse(a) for node in cell for e in node] for a in (parent, child)
        ]
        assert sum(a != b for a, b in zip(*edges, strict=True)) == 1
        assert SPACE.canonical(child) != SPACE.canonical(parent)


def test_two_styles_are_two_networks_under_one_string():
    arch = darts.read(CASES[3]["arch"])
    costs = [DARTS(channels=32, style=style).cost(arch) for style in ("darts", "naslib")]
    assert [cost.layers for cost in costs] == [303, 179]
    assert [cost.parameters for cost in costs] == [952_810, 942_954]
    pools = [
        golden.count(DARTS(channels=32, style=style).build(arch), nn.BatchNorm2d)
        for style in ("darts", "naslib")
    ]
    assert pools[0] < pools[1]


def test_one_cell_is_a_reduction_and_doubles_the_channels_once():
    assert Macro(cells=1).reductions == (0,)
    assert Macro(cells=8).reductions == (2, 5)
    assert Macro(cells=20).reductions == (6, 13)
    space = DARTS(channels=2, cells=1, classes=3, resolution=2)
    assert space.build(f"{SKIPS}/{SKIPS}").head.fc.in_features == 16


def test_an_auxiliary_head_gives_a_second_result_in_train_mode_only():
    model = build(darts.parse(f"{SKIPS}/{SKIPS}"), Macro(channels=2), auxiliary=True)
    x = torch.randn(2, 3, 32, 32)
    logits, second = model.train()(x)
    assert logits.shape == second.shape == (2, 10)
    assert model.eval()(x).shape == (2, 10)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 30}, "resolution must be a multiple of 4, .*; got 30"),
        ({"channels": 3}, "channels must be even, got 3"),
        ({"style": "enas"}, "style must be darts or naslib"),
        ({"sampler": "grid"}, "sampler must be distinct or swap"),
        ({"formula": "thop"}, "formula must be exact or tensorwatch"),
        ({"cells": 0}, "cells must be an integer of at least 1, got 0"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        DARTS(**sizes)


def test_images_that_cannot_be_halved_are_refused():
    model = DARTS(channels=2).build(f"{SKIPS}/{SKIPS}")
    with pytest.raises(ValueError, match=r"halves the image 2 times, .*; got 30x32"):
        model(torch.zeros(2, 3, 30, 32))


def test_describes_a_genotype():
    assert SPACE.describe(darts.read(SECOND_ORDER)) == SECOND_ORDER
