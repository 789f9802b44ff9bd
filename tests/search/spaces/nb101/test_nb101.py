"""NAS-Bench-101: the strings, the networks, and the published table."""

import json
from collections import Counter
from itertools import combinations, permutations
from random import Random

import pandas as pd
import pytest
import torch
from torch import nn

from tests.search.spaces import golden
from tests.shared import DATA, needs_data
from vkdnw.search.spaces import nb101
from vkdnw.search.spaces.nb101 import NB101
from vkdnw.search.spaces.nb101.cost import widths
from vkdnw.search.spaces.nb101.isomorphism import renumbered
from vkdnw.search.spaces.nb101.network import PUBLISHED_MOMENTUM, build
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = NB101()
SMALL = {"channels": 12, "stacks": 2, "cells": 2, "classes": 3}
CASES = json.loads((golden.FOLDER / "nb101.json").read_text())["cases"]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case["arch"])

ROW_0 = "100110100001001010101:02001"
THREE_HEADS = "100011110001011:1021"


class TestNB101(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return NB101(channels=8, stacks=2, cells=1, classes=3, resolution=8)


class TestOfficialSampler(SearchSpaceTests):
    """Its strings have vertices that pruning takes away."""

    @pytest.fixture
    def space(self):
        return NB101(channels=6, stacks=2, cells=1, classes=3, resolution=8, sampler="official")


@cases
def test_costs_are_those_of_the_published_network(case):
    cost = SPACE.cost(case["arch"])
    assert cost.parameters == case["parameters"]
    assert cost.layers == case["parameter_tensors"]
    assert cost.flops == case["flops_32"]


@cases
def test_networks_are_the_published_ones(case):
    with torch.device("meta"):
        model = SPACE.build(case["arch"])
    assert golden.count(model, nn.Conv2d) == case["convolutions"]
    assert sum(p.numel() for p in model.parameters()) == case["parameters"]
    shapes = []
    pools = [f"cells.pool{stack}" for stack in (1, 2)]
    for name in [*SPACE.features(model), *pools]:
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output: shapes.append(list(output.shape[1:]))
        )
    model(torch.zeros(1, 3, 32, 32, device="meta"))
    assert shapes == case["layer_output_shapes"]


@cases
def test_flops_are_those_that_torch_counts(case):
    sizes = {"channels": 16, "classes": 3}
    small = NB101(**sizes, resolution=8)
    assert small.cost(case["arch"]).flops == golden.flops(build(case["arch"], **sizes), 8)


@cases
def test_channels_of_vertices(case):
    graph = nb101.prune(nb101.parse(case["arch"]))
    for step, expected in case["vertex_channels"].items():
        assert widths(graph, *map(int, step.split("->"))) == expected


@cases
def test_hashes_are_the_published_ones(case):
    assert nb101.graph_hash(case["arch"]) == case["hash"]
    assert nb101.format(nb101.prune(nb101.parse(case["arch"]))) == case["pruned"]


@pytest.fixture(scope="module")
def table():
    text = {"upper_triangle": str, "ops": str}
    rows = pd.read_csv(DATA / "nasbench101_sample.csv.gz", dtype=text, keep_default_na=False)
    return rows.assign(arch=rows["upper_triangle"] + ":" + rows["ops"])


@needs_data
def test_rows_of_the_published_table_have_our_parameters_and_hashes(table):
    for row in table[::50].itertuples():
        assert SPACE.cost(row.arch).parameters == row.parameters
        assert nb101.graph_hash(row.arch) == row.hash


@needs_data
@pytest.mark.slow
def test_every_row_of_the_published_table_has_our_parameters(table):
    assert [SPACE.cost(arch).parameters for arch in table["arch"]] == list(table["parameters"])


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", "expected the digits"),
        ("1", "expected the digits"),
        ("101101:03", "expected the digits"),
        ("101:0\n", "expected the digits"),
        (7, "7: expected the digits"),
        ("1" * 28 + ":000000", "6 operations; at most 5"),
        ("10111:01", "upper triangle of 4 vertices has 6 digits, not 5"),
        ("100:0", "no path leads from the input to the output"),
        ("1111111111:000", "10 edges after pruning; at most 9"),
    ],
)
def test_a_bad_string_is_refused_with_the_reason(arch, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.validate(arch)


def test_edges_that_are_pruned_do_not_count():
    pairs = list(combinations(range(7), 2))
    dead_ends = {(i, j) for i, j in pairs if i != 1 and 2 <= j <= 5}
    edges = {(0, 1), (1, 6)} | dead_ends
    assert len(edges) > 9
    SPACE.validate("".join("01"[pair in edges] for pair in pairs) + ":00000")


@pytest.mark.parametrize(
    ("text", "arch"),
    [
        (ROW_0, ROW_0),
        ("(0, 1, 0, 0, 0, 1)", "1:"),
        ("(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 3, 1)", "111:1"),
        ("[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 4, 1]", "111:0"),
        ("([[0, 1, 1], [0, 0, 1], [0, 0, 0]], ['input', 'maxpool3x3', 'output'])", "111:2"),
    ],
)
def test_other_notations_are_read(text, arch):
    assert SPACE.parse(text) == arch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(0, 1, 2)", "3 numbers"),
        ("(0, 1, 0, 0, 1, 0)", "are not 0, then"),
        ("(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 5, 1)", "are not 0, then"),
        ("(0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 3, 1)", r"entry \(1, 0\) of the matrix is 1"),
        ("(0, 2, 1, 0, 0, 1, 0, 0, 0, 0, 3, 1)", r"entry \(0, 1\) of the matrix is 2"),
        ("([[0, 1], [0, 0]], ['input', 'conv5x5', 'output'])", "no pair of a matrix"),
        ("([[0, 1], [0, 0]], ['input', 'maxpool3x3', 'output'])", "matrix is not 3 x 3"),
    ],
)
def test_other_notations_are_refused_with_the_reason(text, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(text)


def test_isomorphic_graphs_are_one_network_unless_three_vertices_share_the_output():
    random = Random(0)
    for arch in [nb101.sample(random) for _ in range(40)]:
        graph = nb101.prune(nb101.parse(arch))
        heads = [vertex for vertex in graph.sources(graph.output) if vertex]
        found = {SPACE.canonical(nb101.format(other)) for other in renumbered(graph)}
        costs = {SPACE.cost(other) for other in found}
        assert len(found) == 1 or (len(heads) == 3 and len(found) <= 6)
        assert SPACE.cost(arch) in costs
        assert len({nb101.graph_hash(other) for other in found}) == 1
        assert len({NB101(isomorphic=True).canonical(other) for other in found}) == 1


def test_two_networks_of_one_hash():
    """Channels that three vertices cannot share evenly go to the first of them."""
    others = [THREE_HEADS, "100011110001011:1120"]
    assert len({nb101.graph_hash(arch) for arch in others}) == 1
    assert [SPACE.cost(arch).parameters for arch in others] == [2_448_431, 2_434_103]
    assert len(set(map(SPACE.canonical, others))) == 2
    divisible = NB101(channels=96)
    assert len(set(map(divisible.canonical, others))) == 1
    assert len({divisible.cost(arch) for arch in others}) == 1


@pytest.mark.parametrize(
    ("arch", "channels"),
    [
        (ROW_0, 12),
        (ROW_0, 16),
        (THREE_HEADS, 12),  # with 16, which three vertices share unevenly, it has no equal
        ("111010000010001100011:10002", 12),
        ("111010000010001100011:10002", 16),
    ],
)
def test_equal_networks_compute_the_same_with_the_same_weights(arch, channels):
    sizes = SMALL | {"channels": channels}
    graph = nb101.parse(arch)
    heads = [vertex for vertex in graph.sources(graph.output) if vertex]
    kept = heads if channels % len(heads) else []
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 4, 4, generator=random, dtype=torch.float64)
    model = build(arch, **sizes).double()
    twins = 0
    for order in permutations(range(1, graph.output)):
        place = {vertex: index for index, vertex in enumerate(order, start=1)}
        other = next((g for g in renumbered(graph, kept) if _renames(graph, g, place)), None)
        if other is None:
            continue
        twin = build(nb101.format(other), **sizes).double()
        twin.load_state_dict(_renamed(model.state_dict(), place, graph, heads))
        torch.testing.assert_close(twin(images), model(images), rtol=1e-9, atol=1e-9)
        twins += 1
    assert twins > 1  # the network itself is one


def _renames(graph, other, place):
    place = {0: 0, graph.output: graph.output} | place
    operations = {place[v]: op for v, op in enumerate(graph.operations, start=1)}
    return frozenset((place[i], place[j]) for i, j in graph.edges) == other.edges and all(
        operations[v] == op for v, op in enumerate(other.operations, start=1)
    )


def _renamed(state, place, graph, heads):
    """Weights moved to the new numbers; readers of a cell see its channels in the new order."""
    moved = {}
    order = sorted(heads, key=place.__getitem__)
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "cells" and parts[2] == "vertex":
            parts[3] = str(place[int(parts[3])])
        if order != heads:
            tensor = _reordered(name, tensor, graph, heads, order)
        moved[".".join(parts)] = tensor
    return moved


def _reordered(name, tensor, graph, heads, order):
    reads_cell = ("project.conv" in name and not name.startswith("cells.0.")) or name == (
        "head.fc.weight"
    )
    writes_cell = name.startswith("cells.") and name.split(".")[2] == "project"
    for axis, applies in ((1, reads_cell), (0, writes_cell and tensor.dim() > 0)):
        if applies:
            pieces = dict(zip(heads, tensor.chunk(len(heads), dim=axis), strict=True))
            tensor = torch.cat([pieces[head] for head in order], dim=axis)
    return tensor


def test_projections_have_an_activation_and_are_added_after_concatenation():
    cell = build("111:2", **SMALL).cells[0]
    x = torch.randn(2, 12, 4, 4)
    pooled = torch.nn.functional.max_pool2d(cell.vertex["1"].project(x), 3, 1, 1)
    torch.testing.assert_close(cell(x), pooled + cell.project(x))
    assert [type(layer) for layer in cell.project] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_a_vertex_reads_the_first_channels_of_a_wider_one():
    graph = nb101.parse(THREE_HEADS)
    assert widths(graph, 128, 128) == [128, 43, 43, 43, 42, 128]
    cell = build(THREE_HEADS, channels=16, stacks=1, cells=1).cells[0].eval()
    seen = {}
    cell.vertex["4"].op.register_forward_hook(lambda _m, inputs, _o: seen.update(read=inputs[0]))
    cell.vertex["1"].register_forward_hook(lambda _m, _i, output: seen.update(given=output))
    cell(torch.randn(2, 16, 4, 4))
    assert seen["given"].shape[1] == 6
    torch.testing.assert_close(seen["read"], seen["given"][:, :5])


def test_samples_are_uniform_over_classes():
    """So the number of vertices is distributed as in the published table."""
    random = Random(0)
    archs = [nb101.sample(random) for _ in range(2000)]
    share = Counter(len(arch.partition(":")[2]) + 2 for arch in archs)
    assert abs(share[7] / 2000 - 359_082 / 423_624) < 0.03
    assert abs(share[6] / 2000 - 62_010 / 423_624) < 0.03


def test_the_official_sampler_is_far_from_uniform():
    random = Random(0)
    pruned = [nb101.prune(nb101.parse(nb101.sample_official(random))) for _ in range(1000)]
    share = Counter(graph.output + 1 for graph in pruned)
    published = {2: 0.095, 3: 0.202, 4: 0.277, 5: 0.302, 6: 0.120}
    assert all(abs(share[n] / 1000 - p) < 0.05 for n, p in published.items())


def test_mutations_are_other_pruned_networks():
    random = Random(0)
    arch = "1:"
    for _ in range(100):
        child = SPACE.mutate(arch, random)
        assert SPACE.canonical(child) != SPACE.canonical(arch)
        assert nb101.format(nb101.prune(nb101.parse(child))) == child
        arch = child


def test_describes_the_pruned_graph():
    assert SPACE.describe("101001100000001000101:01201") == (
        "1 conv3x3 <- 0\n2 conv1x1 <- 1\nout <- 2 (+ 0)"
    )
    assert SPACE.describe("111:2") == "1 maxpool3x3 <- 0\nout <- 1 (+ 0)"
    assert SPACE.describe("1:") == "out <- 0"


def test_momentum_is_that_of_the_benchmark_only_where_asked_for():
    norms = [m for m in build("1:", **SMALL, momentum=PUBLISHED_MOMENTUM).modules() if _is_bn(m)]
    assert {norm.momentum for norm in norms} == {0.003}
    assert {m.momentum for m in build("1:", **SMALL).modules() if _is_bn(m)} == {0.1}


def _is_bn(module):
    return isinstance(module, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"channels": 0}, "channels must be an integer of at least 1, got 0"),
        ({"resolution": 30}, "resolution must be a multiple of 4"),
        ({"sampler": "grid"}, "sampler must be uniform or official, got 'grid'"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        NB101(**sizes)
