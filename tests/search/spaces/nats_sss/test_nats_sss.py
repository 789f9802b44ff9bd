"""NATS-Bench's size space: the strings, and networks counted as the benchmark counts them."""

from random import Random

import pytest
import torch
from torch import nn

from tests.search.spaces import golden
from vkdnw.search.spaces import nats_sss
from vkdnw.search.spaces.nats_sss import NATSSize
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.testing import SearchSpaceTests

SPACE = NATSSize()
ARCH = "8:8:16:40:40"


class TestNATSSize(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return NATSSize(classes=3, resolution=8)


@pytest.mark.parametrize(
    ("arch", "parameters"), [("8:8:8:8:8", 11_714), (ARCH, 107_826), ("64:64:64:64:64", 713_674)]
)
def test_parameters_are_those_that_the_benchmark_recorded(arch, parameters):
    assert SPACE.cost(arch).parameters == parameters


def test_the_cell_costs_in_this_network_as_in_nas_bench_201():
    """With channels that double at the reductions, the networks are those with one cell a stage."""
    cost = NB201(channels=16, cells=1).cost(nats_sss.architecture.CELL)
    assert SPACE.cost("16:32:32:64:64") == cost


@pytest.mark.parametrize("arch", ["8:8:8:8:8", ARCH, "64:8:64:8:64"])
@pytest.mark.parametrize(("classes", "resolution"), [(10, 32), (120, 16)])
def test_flops_are_those_that_torch_counts_and_one_for_each_class(arch, classes, resolution):
    space = NATSSize(classes=classes, resolution=resolution)
    counted = golden.flops(space.build(arch), resolution)
    assert space.cost(arch).flops == counted + classes


def test_a_skip_connection_that_changes_channels_is_a_convolution_without_activation():
    cells = SPACE.build(ARCH).cells
    assert isinstance(cells[0].edge["3<-0"], nn.Identity)
    widened = cells[2].edge["3<-0"]
    assert [type(layer) for layer in widened] == [nn.Conv2d, nn.BatchNorm2d]
    assert widened.conv.weight.shape == (16, 8, 1, 1)


def test_maps_are_halved_by_the_second_and_the_fourth_layer():
    model = SPACE.build(ARCH)
    shapes = []
    for name in SPACE.features(model):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:]))
        )
    model(torch.zeros(2, 3, 32, 32))
    channels = (8, 8, 8, 16, 40, 40)
    assert shapes == [(c, s, s) for c, s in zip(channels, (32, 32, 16, 16, 8, 8), strict=True)]


def test_there_are_32768_architectures():
    every = list(SPACE.architectures())
    assert len(set(every)) == len(every) == 32_768
    assert (every[0], every[1], every[-1]) == ("8:8:8:8:8", "8:8:8:8:16", "64:64:64:64:64")


@pytest.mark.parametrize(("text", "arch"), [(ARCH, ARCH), ("(8, 8, 16, 40, 40)", ARCH)])
def test_notations_that_are_read(text, arch):
    assert SPACE.parse(text) == arch


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("", r"1 part\(s\)"),
        ("8:8:8:8", r"4 part\(s\)"),
        ("8:8:9:8:8", "layer 2 at position 4 .*'9' is not among 8, 16"),
        ("8:8:8:8:8\n", "layer 4 at position 8"),
        ("(8, 8, 9, 8, 8)", "layer 2"),
        (5, "not int: 5"),
    ],
)
def test_a_bad_string_is_refused_with_the_reason(arch, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(arch)


def test_a_mutation_changes_one_layer():
    random = Random(0)
    assert len({SPACE.mutate(ARCH, random) for _ in range(2000)}) == 35


def test_describes_the_layers():
    assert SPACE.describe(ARCH).splitlines()[:2] == [
        "cell to 8 channels",
        "reduction to 8 channels",
    ]
