"""vkdnw::backpropagate_ against the same graph, differentiated automatically in float64."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.native.tape_graph import Graph, assert_agrees, nhwc
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.backpropagate import NONE, Layer, backpropagate_, load


def cell(graph: Graph, node: int, rng: random.Random) -> int:
    """A cell of four nodes, all joined by random layers, from its output to its input."""
    layers = (Layer.IDENTITY, Layer.CONV3X3, Layer.CONV1X1, Layer.AVG_POOL3X3, Layer.SCALE)
    nodes = [node]
    for _ in range(3):
        destination = graph.value(*graph.values[node])
        mask = graph.relu(destination) if rng.random() < 0.7 else NONE
        terms = sorted((rng.choice(layers), source) for source in nodes)
        for layer, source in terms:
            masked = layer in (Layer.CONV3X3, Layer.CONV1X1)
            graph.term(layer, source, destination, mask if masked else NONE)
        nodes.append(destination)
    return nodes[-1]


def reduction(graph: Graph, output: int) -> int:
    """The block between two stages, from its output to its input."""
    channels, height, width = graph.values[output]
    between = graph.value(channels, height, width)
    graph.term(Layer.CONV3X3, output, between, graph.relu(between))
    pooled = graph.value(channels // 2, height, width)
    graph.term(Layer.CONV1X1, output, pooled)
    wide = graph.value(channels // 2, 2 * height, 2 * width)
    graph.term(Layer.STRIDED_CONV, between, wide, graph.relu(wide), stride=2, padding=1)
    graph.term(Layer.MEAN_POOL, pooled, wide, stride=2)
    return wide


def network(seed: int, samples: int = 4, masks_of: int = 2) -> Graph:
    rng = random.Random(seed)
    graph = Graph(samples, masks_of)
    node = graph.cotangent(64, rng.randint(1, 5), rng.randint(1, 5))
    for _ in range(2):
        node = reduction(graph, cell(graph, node, rng))
    cell(graph, node, rng)
    return graph


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_float64(seed: int) -> None:
    assert_agrees(network(seed))


@pytest.mark.parametrize("layer", list(Layer))
def test_each_layer_alone_and_added(layer: Layer) -> None:
    graph = Graph(samples=3, masks_of=3)
    cotangent = graph.cotangent(32, 4, 5)
    strided = (Layer.STRIDED_CONV, Layer.DEPTHWISE_CONV, Layer.MEAN_POOL)
    size = (32, 9, 11) if layer in strided else (32, 4, 5)
    destination = graph.value(*size)
    options = {
        Layer.STRIDED_CONV: {"stride": 2, "padding": 0, "kernel": 2},
        Layer.DEPTHWISE_CONV: {"stride": 2, "padding": 0, "kernel": 3},
        Layer.MEAN_POOL: {"stride": 2},
    }.get(layer, {})
    graph.term(layer, cotangent, destination, **options)
    graph.term(layer, cotangent, destination, **options)
    assert_agrees(graph)


DEPTHWISE = [
    (size, kernel, stride, padding)
    for size in ((1, 1), (2, 3), (5, 19), (17, 34))
    for kernel in (1, 2, 3, 5, 7)
    for stride in (1, 2, 3)
    for padding in (0, kernel // 2, kernel)
    if min(size) + 2 * padding >= kernel
]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), DEPTHWISE)
def test_depthwise_convolutions(
    size: tuple[int, int], kernel: int, stride: int, padding: int
) -> None:
    """Maps narrower and wider than the block that is summed up in registers, and taps that reach
    none."""
    graph = Graph(samples=2, masks_of=2)
    outputs = [(length + 2 * padding - kernel) // stride + 1 for length in size]
    cotangent = graph.cotangent(48, *outputs)
    destination = graph.value(48, *size)
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    graph.term(Layer.DEPTHWISE_CONV, cotangent, destination, graph.relu(destination), **options)
    graph.term(Layer.DEPTHWISE_CONV, cotangent, destination, **options)
    assert_agrees(graph)


def test_inverted_residuals() -> None:
    """Two of them, the second with a stride and a projection; masks of sums and of convolutions."""
    graph = Graph(samples=6, masks_of=3)
    output = graph.cotangent(32, 3, 3)
    for stride in (1, 2):
        channels, height, width = graph.values[output]
        summed = graph.value(channels, height, width)
        graph.term(Layer.IDENTITY, output, summed, graph.relu(summed))
        deep = graph.value(96, height, width)
        graph.term(Layer.CONV1X1, summed, deep, graph.relu(deep))
        wide = graph.value(96, stride * height, stride * width)
        options = {"kernel": 5, "stride": stride, "padding": 2}
        graph.term(Layer.DEPTHWISE_CONV, deep, wide, graph.relu(wide), **options)
        output = graph.value(channels if stride == 1 else 16, stride * height, stride * width)
        if stride == 1:
            graph.term(Layer.IDENTITY, summed, output)
        graph.term(Layer.CONV1X1, wide, output)
        if stride == 2:
            graph.term(Layer.STRIDED_CONV, summed, output, kernel=1, stride=2)
    assert_agrees(graph)


def test_wide_convolutions_of_one_destination() -> None:
    """Their weights are taken one after the other, into sums of their own."""
    graph = Graph(samples=2, masks_of=1)
    cotangents = [graph.cotangent(64, 5, 6), graph.cotangent(48, 5, 6)]
    destination = graph.value(64, 5, 6)
    mask = graph.relu(destination)
    for cotangent in cotangents:
        graph.term(Layer.CONV3X3, cotangent, destination, mask)
    assert_agrees(graph)


def test_cotangents_are_read_as_they_are() -> None:
    graph = Graph(samples=2, masks_of=2)
    graph.cotangent(17, 3, 4)
    assert torch.equal(graph.run()[0], graph.cotangents[0])


def test_same_bits_whatever_is_in_the_batch_and_for_any_number_of_threads() -> None:
    graph = network(1, samples=40, masks_of=1)
    one, two = on_one_and_two_threads(graph.run)
    alone = graph.run([cotangent[33:34] for cotangent in graph.cotangents])
    for a, b, c in zip(one, two, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a[33:34], c)


def test_nan_is_not_lost() -> None:
    graph = Graph(samples=1, masks_of=1)
    cotangent = graph.cotangent(16, 8, 8)
    graph.cotangents[0][0, 3, 4, 4] = torch.nan
    middle = graph.value(16, 8, 8)
    graph.term(Layer.CONV3X3, cotangent, middle)
    last = graph.value(16, 8, 8)
    graph.term(Layer.AVG_POOL3X3, middle, last)
    assert graph.run()[last][0, :, 2:7, 2:7].isnan().all()


def test_no_samples() -> None:
    graph = network(0)
    assert [len(g) for g in graph.run([cotangent[:0] for cotangent in graph.cotangents])] == [
        0
    ] * len(graph.values)


def test_opcheck() -> None:
    load()
    *most, norms, matrices, products = network(3).arguments()
    assert norms == []
    arguments = (*most[:4], [], [], [], *most[4:], matrices, products)
    torch.library.opcheck(torch.ops.vkdnw.backpropagate_, arguments)


PLANES, COTANGENTS, WEIGHTS, MASKS, VALUES, TERMS, READINGS = range(7)


def changed(tensor: Tensor, row: int, column: int, number: int) -> Tensor:
    tensor = tensor.clone()
    tensor[row, column] = number
    return tensor


@pytest.mark.parametrize("layer", [Layer.AVG_POOL3X3, Layer.MEAN_POOL, Layer.SCALE])
def test_only_convolutions_and_sums_take_masks(layer: Layer) -> None:
    graph = Graph(samples=1, masks_of=1)
    cotangent = graph.cotangent(16, 4, 4)
    destination = graph.value(16, 4, 4)
    graph.term(layer, cotangent, destination, graph.relu(destination))
    with pytest.raises(ValueError, match=r"terms\[0\] has a mask, which only convolutions take"):
        graph.run()


@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (PLANES, lambda p: p[:-1], r"readings\[47\] leaves planes"),
        (PLANES, lambda p: p.double(), "planes is Double, not float32"),
        (PLANES, lambda p: p[None], "planes has 2 dimensions, not 1"),
        (COTANGENTS, lambda s: [], "cotangents is empty"),
        (COTANGENTS, lambda s: s * 4, "cotangents has 4 gradients for 3 values"),
        (COTANGENTS, lambda s: [s[0].contiguous()], "cotangents is not channels_last"),
        (
            COTANGENTS,
            lambda s: [nhwc(s[0][:, :, 1:])],
            r"cotangents\[0\] does not have 2 samples of",
        ),
        (WEIGHTS, lambda w: w[:1], r"terms\[1\] names weights 1 of 1"),
        (WEIGHTS, lambda w: [w[1], w[1]], "a tensor of weights has 4 dimensions, not 3"),
        (WEIGHTS, lambda w: [w[0].double(), w[1]], "a tensor of weights is Double"),
        (WEIGHTS, lambda w: [w[0][:, :, :8], w[1]], r"terms\[0\] has weights that do not take"),
        (MASKS, lambda m: [], r"terms\[0\] names mask 0 of 0"),
        (MASKS, lambda m: [m[0][..., :1].contiguous()], r"terms\[0\] has a mask of another size"),
        (MASKS, lambda m: [m[0].float()], r"masks\[0\] must be a contiguous uint8"),
        (MASKS, lambda m: [m[0].repeat(3, 1, 1, 1)], "masks have 6 samples and cotangents 2"),
        (VALUES, lambda v: v[:2], r"terms\[1\] leads to value 2 after 1"),
        (VALUES, lambda v: v.int(), "values must be a contiguous int64 CPU tensor"),
        (VALUES, lambda v: changed(v, 2, 0, 0), r"values\[2\] has size 0 x 4 x 4"),
        (VALUES, lambda v: changed(v, 2, 1, 5), r"terms\[1\] leads from 4 x 4 to 5 x 4 pixels"),
        (VALUES, lambda v: torch.cat([v, v[2:]]), "terms lead to 3 of 4 values"),
        (TERMS, lambda t: changed(t, 1, 0, 8), r"terms\[1\] has weights, which its layer"),
        (TERMS, lambda t: changed(t, 1, 0, 7), "a tensor of weights has 4 dimensions, not 3"),
        (TERMS, lambda t: changed(t, 1, 0, 0), r"terms\[1\] has weights, which its layer"),
        (TERMS, lambda t: changed(t, 1, 0, 6), "a tensor of weights has 4 dimensions, not 1"),
        (WEIGHTS, lambda w: [w[0], torch.ones(2)], "a tensor of weights has 1 dimensions, not 4"),
        (TERMS, lambda t: changed(t, 1, 1, 2), r"terms\[1\] leads from value 2 to 2; sources"),
        (TERMS, lambda t: changed(t, 1, 1, -1), r"terms\[1\] leads from value -1"),
        (TERMS, lambda t: changed(t, 0, 2, 0), r"terms\[0\] leads to value 0 after 0"),
        (TERMS, lambda t: changed(t, 0, 3, NONE), r"terms\[0\] needs weights"),
        (TERMS, lambda t: changed(t, 0, 4, -2), r"terms\[0\] names mask -2"),
        (READINGS, lambda r: changed(r, 0, 0, 3), r"readings\[0\] names value 3 of 3"),
        (READINGS, lambda r: r.flip(0), r"readings\[16\] names value 1 of 3 after 2"),
        (READINGS, lambda r: changed(r, 0, 1, 16), r"readings\[0\] names channel 16 of 16"),
        (READINGS, lambda r: changed(r, 0, 2, -1), r"readings\[0\] leaves planes"),
    ],
)
def test_refuses_by_name(position: int, change: Callable[[object], object], message: str) -> None:
    graph = Graph(samples=2, masks_of=2)
    cotangent = graph.cotangent(16, 4, 4)
    middle = graph.value(16, 4, 4)
    graph.term(Layer.CONV3X3, cotangent, middle, graph.relu(middle))
    last = graph.value(16, 4, 4)
    graph.term(Layer.CONV1X1, middle, last)
    arguments = list(graph.arguments())
    arguments[position] = change(arguments[position])
    with pytest.raises(ValueError, match=message):
        backpropagate_(*arguments)  # type: ignore[arg-type]
