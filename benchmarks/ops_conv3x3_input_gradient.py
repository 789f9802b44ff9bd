"""vkdnw::conv3x3_input_gradient against torch's convolution_backward and threshold_backward.

Layers of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn. Both
sides see the same data, torch with the ReLU's output for a mask and the op with the bits of it.
"copies" is how many such sets of data the calls take in turn: with one, it stays in the cache,
with 64 it comes from memory as in the backward pass of a network. The error is the largest one,
relative to the largest element of the float64 gradient before masking.

    python benchmarks/ops_conv3x3_input_gradient.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.convolution import conv3x3_input_gradient, rectify, winograd_weights

LAYERS = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCHES = ((8, 1), (16, 1), (64, 1), (16, 64))  # samples, copies of the data
REPEATS = 12


def composed(grad: Tensor, relu: Tensor, weight: Tensor) -> Tensor:
    ones = [1, 1]
    wanted = [True, False, False]
    gradient, _, _ = torch.ops.aten.convolution_backward(
        grad, relu, weight, None, ones, ones, ones, False, [0, 0], 1, wanted
    )
    result: Tensor = torch.ops.aten.threshold_backward(gradient, relu, 0)
    return result


def in_turn(grad: Tensor, x: Tensor, copies: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Gradient, ReLU output and bit mask, over and over."""
    data = [(grad.clone(), *rectify(x)) for _ in range(copies)]
    return itertools.cycle(data)


def compare(channels: int, size: int, batch: int, copies: int) -> None:
    torch.manual_seed(0)
    grad, x = (normal_images(batch, channels, size, size) for _ in range(2))
    weight = torch.randn(channels, channels, 3, 3)
    transformed = winograd_weights(weight)
    data = in_turn(grad, x, copies)

    def by_torch() -> Tensor:
        grad, relu, _ = next(data)
        return composed(grad, relu, weight)

    def by_op() -> Tensor:
        grad, _, mask = next(data)
        return conv3x3_input_gradient(grad, transformed, mask)

    calls: list[Callable[[], Tensor]] = [by_torch, by_op]
    exact = torch.nn.functional.conv_transpose2d(grad.double(), weight.double(), padding=1)
    errors = [((call() - exact * (x > 0)).abs().max() / exact.abs().max()).item() for call in calls]
    torch_time, our_time, transform_time = best_times(
        [*calls, lambda: winograd_weights(weight)], REPEATS
    )
    rate = 2 * 9 * channels * grad.numel() / 1e9
    print(
        f"{channels:8} {size:4} {batch:5} {copies:6} {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f}"
        f" {torch_time / our_time:6.2f} {rate / torch_time:9.0f} {rate / our_time:9.0f}"
        f" {transform_time * 1e6:9.0f} {errors[0]:9.1e} {errors[1]:9.1e}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("rates in GFLOP/s of the direct algorithm")
    print(
        "channels size batch copies  torch us  vkdnw us  ratio  torch /s  vkdnw /s  weights us"
        " torch err vkdnw err"
    )
    with torch.inference_mode():
        for channels, size in LAYERS:
            for batch, copies in BATCHES:
                compare(channels, size, batch, copies)


if __name__ == "__main__":
    main()
