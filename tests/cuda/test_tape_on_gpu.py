"""Tapes on a GPU: against the same graph in float64, and against autograd on the GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import vkdnw
from tests.cuda.test_scoring_on_gpu import ARCHITECTURES, error, images, network
from tests.native.tape_graph import ACCURACY, Graph
from tests.native.test_backpropagate import network as random_network
from vkdnw.backward import tape_compiler
from vkdnw.ops.backpropagate import Layer, backpropagate_
from vkdnw.ops.convolution import packed_weight
from vkdnw.ops.relu import relu_mask
from vkdnw.per_sample.reverse_mode import gradient_sinks, static_pass

pytestmark = pytest.mark.gpu


def gradients(graph: Graph, device: torch.device) -> list[Tensor]:
    """Of all values, with everything but the tables on a device."""
    planes, cotangents, _, masks, values, terms, readings, *_ = graph.arguments()
    assert isinstance(terms, Tensor)
    layers = {row[3]: Layer(row[0]) for row in terms.tolist()}
    weights = [
        kernel.to(device)
        if layers[i] == Layer.SCALE
        else packed_weight(layers[i], kernel.to(device))
        for i, kernel in enumerate(graph.kernels)
    ]
    cotangents, masks = ([each.to(device) for each in tensors] for tensors in (cotangents, masks))
    found = backpropagate_(planes.to(device), cotangents, weights, masks, values, terms, readings)
    parts = torch.split(found.cpu(), [graph.samples * c * h * w for c, h, w in graph.values])
    return [part.view(-1, *value) for part, value in zip(parts, graph.values, strict=True)]


def wide_network() -> Graph:
    """Maps that shared memory has no room for."""
    graph = Graph(samples=3, masks_of=3)
    node = graph.cotangent(64, 56, 56)
    for layer in (Layer.CONV3X3, Layer.CONV1X1, Layer.AVG_POOL3X3):
        destination = graph.value(64, 56, 56)
        graph.term(layer, node, destination)
        graph.term(Layer.IDENTITY, node, destination)
        node = destination
    return graph


@pytest.mark.parametrize(
    "graph", [random_network(0), random_network(1, samples=400, masks_of=100), wide_network()]
)
def test_gradients_agree_with_float64(graph: Graph, device: torch.device) -> None:
    found = gradients(graph, device)
    for value, (gradient, expected) in enumerate(zip(found, graph.expected(), strict=True)):
        error = (gradient.double() - expected).abs().max()
        assert error <= ACCURACY * expected.abs().max(), f"value {value}"
    again = gradients(graph, device)
    assert all(torch.equal(*pair) for pair in zip(found, again, strict=True))


@pytest.mark.parametrize("channels", [1, 16, 40])
def test_masks_are_the_cpus(channels: int, device: torch.device) -> None:
    x = torch.randn(3, channels, 5, 7).contiguous(memory_format=torch.channels_last)
    x[0, 0] = torch.nan
    assert torch.equal(relu_mask(x.to(device)).cpu(), relu_mask(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_jacobian_agrees_with_autograds(
    architecture: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def watch(*args: object) -> object:
        compiled.append(tape_compiler.compile_tape(*args))  # type: ignore[arg-type]
        return compiled[-1]

    for module in (gradient_sinks, static_pass):
        monkeypatch.setattr(module, "compile_tape", watch)
    model, x = network(architecture).to(device), images(4).to(device)
    found = vkdnw.jacobian(model, x)
    assert compiled
    assert None not in compiled
    for module in (gradient_sinks, static_pass):
        monkeypatch.setattr(module, "compile_tape", lambda *_: None)
    expected = vkdnw.jacobian(model, x)
    assert error(found, expected.cpu().double()) <= 1e-5


def test_what_only_the_cpu_computes_is_refused(only_on_gpu: None, device: torch.device) -> None:
    graph = Graph(samples=2, masks_of=1)
    cotangent = graph.sign_cotangent(16, 2, 2)
    graph.term(Layer.IDENTITY, cotangent, graph.value(16, 2, 2))
    with pytest.raises(ValueError, match=r"cotangents\[0\] are packed signs"):
        gradients(graph, device)
    graph = random_network(0)
    graph.cotangents[0] = graph.cotangents[0].cpu()
    planes, cotangents, weights, masks, *tables = graph.arguments()
    with pytest.raises(ValueError, match="a tensor of cotangents is on another device than planes"):
        backpropagate_(planes.to(device), cotangents, weights, masks, *tables[:3])  # type: ignore
