"""FLOPs, parameters, layers and depth from the string alone, by both formulas."""

import pytest
import torch
from torch import nn

from tests.search.spaces.mobilenetv2 import golden
from vkdnw.search.spaces import mobilenetv2
from vkdnw.search.spaces.mobilenetv2 import INITIAL, MobileNetV2, cost

golden_structures = pytest.mark.parametrize("case", golden.structures(), ids=range(8))


def count_layers(structure, resolution, **options):
    """Multiply-adds counted by running the network, layer by layer; and its parameters."""
    network = mobilenetv2.build(structure, **options).eval()
    total = 0

    def count(layer, _, output):
        nonlocal total
        weights = layer.weight[0].numel()  # of one output channel
        total += weights * output[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, resolution, resolution))
    return total, list(network.parameters())


@pytest.mark.parametrize("resolution", [32, 45])
@pytest.mark.parametrize("options", [{}, {"squeeze_excitation": True}, {"residual": False}])
def test_costs_are_those_of_the_module(resolution, options):
    structure = INITIAL.replace("32,2,8,1)", "32,2,8,3)").replace(
        "K3BNRELU(3,8,2,1)", "K5BNRELU(3,8,2,2)"
    )
    flops, parameters = count_layers(structure, resolution, classes=7, **options)
    ours = cost(structure, 7, resolution, **options)
    assert ours.flops == flops
    assert ours.parameters == sum(parameter.numel() for parameter in parameters)
    assert ours.layers == len(parameters)
    assert ours.depth == 2 + 3 + 1 + 1 + 1 + 1


@golden_structures
@pytest.mark.parametrize("classes", [10, 1000])
def test_the_released_formula_gives_the_published_numbers(case, classes):
    published = case[f"classes{classes}"]
    ours = cost(case["struct"], classes, 224, formula="released")
    assert ours.flops == published["flops_224"]
    assert ours.parameters == published["model_size_formula"]
    assert cost(case["struct"], classes, 32, formula="released").flops == published["flops_32"]


@golden_structures
def test_the_exact_formula_gives_the_true_numbers(case):
    ours = cost(case["struct"])
    assert ours.flops == case["classes1000"]["true_conv_linear_macs_224"]
    assert ours.parameters == case["classes1000"]["true_param_count"]
    assert ours.layers == case["param_tensor_count"]
    assert ours.depth == case["num_layers"]


@golden_structures
def test_variants_cost_what_was_published(case):
    published = case["no_reslink"]
    released = cost(case["struct"], 10, residual=False, formula="released")
    exact = cost(case["struct"], 10, residual=False)
    assert released.flops == published["flops_224_classes10"]
    assert released.parameters == published["model_size_formula_10"]
    assert exact.parameters == published["true_param_count_10"]
    assert exact.layers == published["param_tensor_count"]
    published = case["use_se_classes1000"]
    released = cost(case["struct"], squeeze_excitation=True, formula="released")
    exact = cost(case["struct"], squeeze_excitation=True)
    assert released.flops == published["flops_224"]
    assert released.parameters == published["model_size_formula"]
    assert exact.parameters == published["true_param_count"]
    assert exact.layers == published["param_tensor_count"]


def test_the_space_tells_the_cost_of_what_will_be_trained():
    assert MobileNetV2(classes=10, resolution=32).cost(INITIAL) == cost(INITIAL, 1000, 224)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"classes": 0}, "classes must be a positive integer, got 0"),
        ({"resolution": 22.4}, "resolution must be a positive integer, got 22.4"),
        ({"formula": "true"}, "formula must be exact or released, got 'true'"),
    ],
)
def test_bad_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        cost(INITIAL, **sizes)
