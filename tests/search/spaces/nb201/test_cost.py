"""FLOPs, parameters and layers from the string alone."""

import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.spaces import nb201

DATASETS = {
    "cifar10": {"classes": 10, "resolution": 32},
    "cifar100": {"classes": 100, "resolution": 32},
    "ImageNet16-120": {"classes": 120, "resolution": 16},
}
SAMPLE = nb201.enumerate()[:12]


def test_index_284_costs_what_the_benchmark_says():
    arch = nb201.enumerate()[284]
    assert nb201.flops(arch) == 11_715_210
    assert nb201.parameters(arch) == 101_306


@needs_data
@pytest.mark.parametrize("index", [0, 11, 284])
@pytest.mark.parametrize("dataset", DATASETS)
def test_costs_are_those_of_the_official_files(index, dataset):
    from nats_bench import create

    api = create(str(DATA / "NATS-tss-v1_0-3ffb9-simple"), "tss", fast_mode=True, verbose=False)
    official = api.get_cost_info(index, dataset, hp="200")
    arch, setting = api.arch(index), DATASETS[dataset]
    assert nb201.flops(arch, **setting) == round(official["flops"] * 1e6)
    assert nb201.parameters(arch, classes=setting["classes"]) == round(official["params"] * 1e6)


@pytest.mark.parametrize("arch", SAMPLE)
@pytest.mark.parametrize("sizes", [(16, 5, 10), (4, 1, 3), (6, 2, 100)])
def test_parameters_and_layers_are_those_of_the_module(arch, sizes):
    tensors = list(nb201.build(arch, *sizes).parameters())
    assert nb201.parameters(arch, *sizes) == sum(tensor.numel() for tensor in tensors)
    assert nb201.layers(arch, cells=sizes[1]) == len(tensors)


@pytest.mark.parametrize("arch", SAMPLE)
def test_layers_are_21_and_45_for_each_convolution_of_the_cell(arch):
    assert nb201.convolutions(arch) == arch.count("conv")
    assert nb201.layers(arch) == 21 + 45 * arch.count("conv")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"channels": 0}, "channels must be a positive integer, got 0"),
        ({"cells": -1}, "cells must be a positive integer, got -1"),
        ({"classes": 2.5}, "classes must be a positive integer, got 2.5"),
        ({"resolution": 30}, "multiples of 4; got 30x30"),
        ({"resolution": 0}, "multiples of 4; got 0x0"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        nb201.flops(SAMPLE[0], **sizes)
