"""vkdnw::backpropagate_ against autograd, on cells of NAS-Bench-201 whose edges are all 3x3.

Both take the gradient of five cells' output back to their input, for 8 samples and 9 cotangents,
and both through the same native convolutions' gradients: one node of the graph at a time on one
side, in one call on the other. One thread, process CPU time, best of several runs taken in turn.

    python benchmarks/ops_backpropagate.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vkdnw.ops.backpropagate import NONE, Layer, backpropagate_
from vkdnw.ops.convolution import conv_input_gradient, winograd_weights
from vkdnw.ops.relu import rectify

STAGES = ((16, 32), (32, 16), (64, 8))  # channels, height = width
CELLS, NODES = 5, 4
SAMPLES, COTANGENTS = 8, 9
REPEATS = 8


def normal_images(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


class Convolution(torch.autograd.Function):
    """An edge of a cell, of which the benchmark needs the backward only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        ctx.weights, ctx.mask = weights, mask
        return torch.zeros_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (grad,) = gradients
        arguments = ctx.weights, ctx.mask, grad.shape[2:], 1, 1
        return conv_input_gradient(Layer.CONV3X3, grad, *arguments), None, None


def edges() -> list[tuple[int, int]]:
    """(source, target) of every edge; nodes are numbered through all cells."""
    return [
        (cell * (NODES - 1) + source, cell * (NODES - 1) + target)
        for cell in range(CELLS)
        for target in range(1, NODES)
        for source in range(target)
    ]


def graph(x: Tensor, weights: list[Tensor], masks: list[Tensor]) -> Tensor:
    nodes = {0: x}
    for (source, target), weight in zip(edges(), weights, strict=True):
        term = Convolution.apply(nodes[source], weight, masks[source])  # type: ignore[no-untyped-call]
        nodes[target] = nodes[target] + term if target in nodes else term
    return nodes[max(nodes)]


def tape(channels: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Values, terms and readings: the first channel of every node is read."""
    last = CELLS * (NODES - 1)
    values = torch.tensor([[channels, size, size]]).repeat(last + 1, 1)
    terms = [
        (int(Layer.CONV3X3), last - target, last - source, number, source, 1, 0, NONE)
        for number, (source, target) in enumerate(edges())
    ]
    plane = size * size
    rows = SAMPLES * COTANGENTS
    readings = torch.tensor([(v, 0, v * rows * plane, plane) for v in range(last + 1)])
    return values, torch.tensor(sorted(terms, key=lambda term: term[2])), readings


def best_times(calls: list[Callable[[], object]]) -> list[float]:
    def cpu_seconds(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    for call in calls:
        call()
    rounds = [[cpu_seconds(call) for call in calls] for _ in range(REPEATS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def compare(channels: int, size: int) -> None:
    torch.manual_seed(0)
    weights = [
        winograd_weights(torch.randn(channels, channels, 3, 3) / (3 * channels**0.5))
        for _ in edges()
    ]
    inputs = range(CELLS * (NODES - 1))
    masks = [rectify(normal_images(SAMPLES, channels, size, size))[1] for _ in inputs]
    x = normal_images(SAMPLES, channels, size, size).requires_grad_()
    output = graph(x, weights, masks)
    cotangents = normal_images(COTANGENTS * SAMPLES, channels, size, size)
    values, terms, readings = tape(channels, size)
    planes = torch.empty(len(values) * len(cotangents) * size * size)

    def by_autograd() -> None:
        for cotangent in cotangents.split(SAMPLES):
            torch.autograd.grad(output, x, cotangent, retain_graph=True)

    def by_tape() -> None:
        backpropagate_(planes, [cotangents], weights, masks, values, terms, readings)

    autograd_time, our_time = best_times([by_autograd, by_tape])
    rate = 2 * 9 * channels * len(edges()) * cotangents.numel() / 1e9
    print(
        f"{channels:8} {size:4} {autograd_time * 1e3:11.1f} {our_time * 1e3:9.1f}"
        f" {autograd_time / our_time:6.2f} {rate / our_time:9.0f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("rates in GFLOP/s of the direct algorithm")
    print("channels size autograd ms  vkdnw ms  ratio  vkdnw /s")
    for channels, size in STAGES:
        compare(channels, size)


if __name__ == "__main__":
    main()
