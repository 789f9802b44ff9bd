"""The networks: parameter order and names, logits, gradients."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.shared import GOLDEN_CASES, golden_cases, golden_path
from vkdnw.search.spaces import nb201

LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d, nn.Identity, nn.Linear)
MIXED = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def golden_case(name):
    case = json.loads((golden_path(name) / "case.json").read_text())
    return case, nb201.build(case["arch"], case["C"], case["N"], case["num_classes"])


@pytest.mark.parametrize("name", golden_cases(*GOLDEN_CASES))
def test_parameters_have_the_published_order_and_shapes(name):
    case, network = golden_case(name)
    named = [(name, list(tensor.shape)) for name, tensor in network.named_parameters()]
    assert named == [(canonical, shape) for canonical, _, shape in case["parameter_order"]]


@pytest.mark.parametrize("name", golden_cases(*GOLDEN_CASES))
@pytest.mark.parametrize("statistics", ["fresh", "override"])
def test_logits_are_the_published_ones(name, statistics):
    _, network = golden_case(name)
    state = dict(np.load(golden_path(name) / "weights.npz"))
    logits = "logits"
    if statistics == "override":
        state |= dict(np.load(golden_path(name) / "weights_bn_override.npz"))
        logits = "bnover_logits"
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    images = torch.from_numpy(np.load(golden_path(name) / "inputs.npz")["x1"]).double()
    with torch.no_grad():
        ours = network.double().eval()(images).numpy()
    np.testing.assert_allclose(
        ours, np.load(golden_path(name) / "vkdnw.npz")[logits], rtol=1e-9, atol=1e-9
    )


def test_every_layer_is_called_exactly_once():
    # Hooks of per-sample differentiation and of the activation proxies rely on it.
    arch = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"
    assert nb201.dead_edges(arch)
    network = nb201.build(arch, channels=4, cells=2)
    calls: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            calls[name] = 0
            module.register_forward_hook(
                lambda *_, name=name: calls.__setitem__(name, calls[name] + 1)
            )
    network(torch.randn(2, 3, 8, 8))
    assert len(calls) == 2 + 6 * (3 + 1 + 3 + 1) + 2 * 8 + 3
    assert set(calls.values()) == {1}


@pytest.mark.parametrize(
    ("arch", "dead"), [(nb201.enumerate()[i], n) for i, n in ((10, 3), (12, 1))]
)
def test_dead_convolutions_have_gradients_of_exactly_zero(arch, dead):
    network = nb201.build(arch, channels=4, cells=1)
    network(torch.randn(3, 3, 8, 8)).square().sum().backward()
    gradients = {name: tensor.grad for name, tensor in network.named_parameters()}
    assert None not in gradients.values()
    unread = gradients.keys() & {
        f"cells.{cell}.edge.{edge}.conv.weight"
        for cell in (0, 2, 4)
        for edge in nb201.dead_edges(arch)
    }
    assert len(unread) == 3 * dead
    assert not any(gradients[name].any() for name in unread)


def reference_cell(cell, operations, x):
    """The published cell, literally: every edge computed, ``none`` a multiplication by zero."""
    nodes = [x]
    for target in (1, 2, 3):
        terms = []
        for edge, operation in zip(nb201.EDGES, operations, strict=True):
            if edge.target == target:
                source = nodes[edge.source]
                terms.append(source * 0.0 if operation == "none" else cell.edge[str(edge)](source))
        nodes.append(sum(terms))
    return nodes[3]


@pytest.mark.parametrize("index", range(0, 15_625, 500))
def test_cells_compute_what_multiplying_by_zero_would(index):
    arch = nb201.enumerate()[index]
    cell = nb201.build(arch, channels=4, cells=1).double().cells[0]
    randomise_batch_norm(cell)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    for mode in (True, False):
        cell.train(mode)
        torch.testing.assert_close(cell(x), reference_cell(cell, nb201.parse(arch), x))


def randomise_batch_norm(module):
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (16, 16), (32, 8), (40, 40)])
def test_any_multiple_of_four_is_a_resolution(height, width):
    network = nb201.build(MIXED, channels=2, cells=1, classes=7).eval()
    assert network(torch.randn(2, 3, height, width)).shape == (2, 7)


def test_another_resolution_is_refused():
    with pytest.raises(ValueError, match="multiples of 4; got 30x32"):
        nb201.build(MIXED, channels=2, cells=1)(torch.randn(1, 3, 30, 32))


def test_a_bad_architecture_or_size_is_refused():
    with pytest.raises(nb201.ArchitectureError, match="conv_7x7"):
        nb201.build(MIXED.replace("skip_connect", "conv_7x7"))
    with pytest.raises(ValueError, match="cells must be a positive integer, got 0"):
        nb201.build(MIXED, cells=0)
