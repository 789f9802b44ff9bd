"""vkdnw::backpropagate_ through BatchNorms by the batch's own statistics, from packed signs, and
products with them, against automatic differentiation in float64."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from tests.native.tape_graph import Graph, assert_agrees, nhwc
from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.backpropagate import NONE, Layer, Norm, backpropagate_

PRODUCT_ACCURACY = 2e-5
"""Of a product's largest number: that of the gradients, see assert_agrees."""

NORMED = (Layer.CONV3X3, Layer.CONV1X1, Layer.IDENTITY)


def cell(graph: Graph, nodes: list[int], rng: random.Random) -> list[int]:
    """A cell of four nodes from its outputs to its inputs, for several gradients side by side.

    Every gradient goes through the same layers, masks and norms.
    """
    levels = [nodes]
    for _ in range(3):
        destinations = [graph.value(*graph.values[nodes[0]]) for _ in nodes]
        mask = graph.relu(destinations[0])
        for sources in levels:
            layer = rng.choice((*NORMED, Layer.AVG_POOL3X3))
            norm = graph.norm(sources[0]) if layer in NORMED else NONE
            masked = mask if layer in (Layer.CONV3X3, Layer.CONV1X1) else NONE
            for lane, (source, destination) in enumerate(zip(sources, destinations, strict=True)):
                graph.term(layer, source, destination, masked, norm=norm)
                if lane:  # with the weights of the first
                    row = list(graph.terms[-1])
                    row[3] = graph.terms[-2][3]
                    graph.terms[-1] = tuple(row)
        graph.terms.sort(key=lambda row: row[2])
        levels.append(destinations)
    return levels[-1]


def network(seed: int, samples: int = 6) -> Graph:
    rng = random.Random(seed)
    graph = Graph(samples, samples)
    graph.rng.manual_seed(seed)
    size = rng.randint(2, 5), rng.randint(2, 5)
    nodes = [graph.cotangent(64, *size), graph.sign_cotangent(64, *size)]
    last = cell(graph, cell(graph, nodes, rng), rng)
    graph.products = [(last[1], nodes[1]), (last[0], nodes[0])]
    return graph


def products_agree(graph: Graph) -> None:
    found, _ = graph.run_products()
    for product, expected in zip(found, graph.expected_products(), strict=True):
        assert (product - expected).abs().max() <= PRODUCT_ACCURACY * expected.abs().max()


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_float64(seed: int) -> None:
    graph = network(seed)
    assert_agrees(graph)
    products_agree(graph)


@pytest.mark.parametrize("layer", list(Layer))
def test_each_layer_behind_a_norm(layer: Layer) -> None:
    """From numbers and from signs, of maps that several pieces are made of."""
    graph = Graph(samples=9, masks_of=9)
    cotangents = [graph.cotangent(32, 24, 25), graph.sign_cotangent(32, 24, 25)]
    strided = {
        Layer.STRIDED_CONV: {"stride": 2, "padding": 1, "kernel": 3},
        Layer.DEPTHWISE_CONV: {"stride": 2, "padding": 1, "kernel": 3},
        Layer.MEAN_POOL: {"stride": 2},
    }
    size = (32, 48, 50) if layer in strided else (32, 24, 25)
    destination = graph.value(*size)
    for cotangent in cotangents:
        graph.term(
            layer, cotangent, destination, norm=graph.norm(cotangent), **strided.get(layer, {})
        )
    assert_agrees(graph)


def test_a_gradient_with_and_without_a_norm() -> None:
    """Convolutions that read a gradient as it is share its transform; others must not."""
    graph = Graph(samples=4, masks_of=4)
    cotangent = graph.cotangent(16, 8, 8)
    first, second = graph.value(16, 8, 8), graph.value(16, 8, 8)
    graph.term(Layer.CONV3X3, cotangent, first)
    graph.term(Layer.CONV3X3, cotangent, first, norm=graph.norm(cotangent))
    graph.term(Layer.CONV3X3, cotangent, first)
    graph.term(Layer.CONV3X3, cotangent, second, norm=graph.norm(cotangent))
    graph.term(Layer.CONV3X3, first, second)
    assert_agrees(graph)


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (25, 23)])
def test_products_stack_the_pixels_of_one_pixel(ratio: int, size: tuple[int, int]) -> None:
    graph = Graph(samples=3, masks_of=3)
    cotangent, other = (
        graph.cotangent(48, *size),
        graph.cotangent(32, ratio * size[0], ratio * size[1]),
    )
    value = graph.value(*graph.values[other])
    graph.term(Layer.IDENTITY, other, value)
    graph.products = [(value, cotangent)]
    products_agree(graph)


def test_a_gradient_that_is_its_seed_is_told() -> None:
    graph = Graph(samples=2, masks_of=2)
    cotangents = [graph.cotangent(16, 4, 4), graph.sign_cotangent(16, 4, 4)]
    for cotangent in cotangents:
        value = graph.value(16, 4, 4)
        graph.term(Layer.IDENTITY, cotangent, value)
        graph.products.append((value, cotangent))
    assert graph.run_products()[1] == [True, True]
    graph.cotangents[0][1, 15, 3, 3] += 1
    graph.products[0] = (3, 0)  # the signs, and the cotangent of numbers
    assert graph.run_products()[1] == [False, True]


def test_bits_depend_neither_on_threads_nor_on_what_else_is_on_the_tape() -> None:
    graph = network(1, samples=40)
    one, two = on_one_and_two_threads(graph.run)
    assert all(map(torch.equal, two[2:], one[2:]))
    assert all(map(torch.equal, *on_one_and_two_threads(lambda: graph.run_products()[0])))
    alone = only_numbers(graph)
    kept = [0, *range(2, len(graph.values), 2)]
    assert all(map(torch.equal, alone.run(), (one[value] for value in kept)))


def only_numbers(graph: Graph) -> Graph:
    """The tape without the values of the signs, which have the odd numbers."""
    number = {0: 0} | {value: value // 2 for value in range(2, len(graph.values), 2)}
    alone = Graph(graph.samples, graph.masks_of)
    alone.values = [graph.values[value] for value in number]
    alone.cotangents, alone.weights, alone.kernels = (
        graph.cotangents[:1],
        graph.weights,
        graph.kernels,
    )
    alone.relus, alone.norms = graph.relus, graph.norms
    alone.terms = [
        (layer, number[source], number[destination], *rest)
        for layer, source, destination, *rest in graph.terms
        if destination in number
    ]
    return alone


COTANGENTS, TERMS, READINGS, NORMS, MATRICES, PRODUCTS = 1, 5, 6, 7, 8, 9


@pytest.mark.parametrize(
    ("position", "change", "message"),
    [
        (NORMS, lambda n: [], r"terms\[0\] names norm 0 of 0"),
        (NORMS, lambda n: [Norm(n[0].x[:1], *n[0][1:])], r"norm_inputs\[0\] has 1 samples"),
        (NORMS, lambda n: [n[0]._replace(x=n[0].x.double())], "x is Double, not float32"),
        (NORMS, lambda n: [n[0]._replace(x=nhwc(n[0].x[:, :, 1:]))], "a norm of another size"),
        (NORMS, lambda n: [n[0]._replace(statistics=n[0].statistics[:1])], "statistics is not"),
        (NORMS, lambda n: [n[0]._replace(weight=n[0].weight[1:])], "norm_weights has 15 numbers"),
        (TERMS, lambda t: t[:, :7].contiguous(), "terms must be .* with 8 columns"),
        (
            COTANGENTS,
            lambda s: [s[0], s[1][..., :1].contiguous()],
            r"cotangents\[1\] must be a contiguous",
        ),
        (
            COTANGENTS,
            lambda s: [s[0], s[1][:, 1:].contiguous()],
            r"cotangents\[1\] does not have 2 samples",
        ),
        (READINGS, lambda r: r * 0 + 1, r"readings\[0\] reads cotangent 1, which are signs"),
        (
            PRODUCTS,
            lambda p: p * 0,
            r"products\[0\] multiplies value 0 with cotangent 0; cotangents are",
        ),
        (PRODUCTS, lambda p: p + 1, r"products\[0\] multiplies value 3 with cotangent 2"),
        (PRODUCTS, lambda p: p + torch.tensor([0, 0, 1]), r"products\[0\] leaves matrices"),
        (MATRICES, lambda m: m.float(), "matrices must be a flat float64"),
    ],
)
def test_refuses_by_name(position: int, change: Callable[[object], object], message: str) -> None:
    graph = Graph(samples=2, masks_of=2)
    cotangent, signs = graph.cotangent(16, 4, 4), graph.sign_cotangent(16, 4, 4)
    last = graph.value(16, 4, 4)
    graph.term(Layer.CONV3X3, cotangent, last, norm=graph.norm(cotangent))
    graph.products = [(last, signs)]
    arguments = list(graph.arguments())
    arguments[position] = change(arguments[position])
    with pytest.raises(ValueError, match=message):
        backpropagate_(*arguments)  # type: ignore[arg-type]


def test_products_need_whole_ratios() -> None:
    graph = Graph(samples=1, masks_of=1)
    cotangent, other = graph.cotangent(16, 2, 2), graph.cotangent(16, 5, 4)
    value = graph.value(16, 5, 4)
    graph.term(Layer.IDENTITY, other, value)
    graph.products = [(value, cotangent)]
    with pytest.raises(ValueError, match=r"products\[0\] multiplies 5 x 4 pixels with 2 x 2"):
        graph.run_products()
