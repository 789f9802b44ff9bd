"""vkdnw::conv3x3_input_gradient against torch's convolution_backward and threshold_backward.

Layers of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn. Both
sides see the same data; the error is the largest one, relative to the largest element of the
float64 gradient before masking.

    python benchmarks/ops_conv3x3_input_gradient.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from vkdnw.convolution import conv3x3_input_gradient, winograd_weights

LAYERS = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCHES = (8, 16, 64)
REPEATS = 12
CALLS = 4


def composed(grad: Tensor, relu: Tensor, weight: Tensor) -> Tensor:
    ones = [1, 1]
    wanted = [True, False, False]
    gradient, _, _ = torch.ops.aten.convolution_backward(
        grad, relu, weight, None, ones, ones, ones, False, [0, 0], 1, wanted
    )
    result: Tensor = torch.ops.aten.threshold_backward(gradient, relu, 0)
    return result


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS


def best_times(calls: list[Callable[[], object]]) -> list[float]:
    for call in calls:
        call()
    rounds = [[cpu_seconds(call) for call in calls] for _ in range(REPEATS)]
    return [min(times) for times in zip(*rounds, strict=True)]


def compare(channels: int, size: int, batch: int) -> None:
    rng = torch.Generator().manual_seed(0)
    shape = (batch, channels, size, size)
    grad, normal = (
        torch.randn(shape, generator=rng).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    relu = normal.relu()
    weight = torch.randn(channels, channels, 3, 3, generator=rng)
    transformed = winograd_weights(weight)
    calls: list[Callable[[], Tensor]] = [
        lambda: composed(grad, relu, weight),
        lambda: conv3x3_input_gradient(grad, transformed, relu),
    ]
    exact = torch.nn.functional.conv_transpose2d(grad.double(), weight.double(), padding=1)
    errors = [
        ((call() - exact * (relu > 0)).abs().max() / exact.abs().max()).item() for call in calls
    ]
    torch_time, our_time, transform_time = best_times([*calls, lambda: winograd_weights(weight)])
    rate = 2 * 9 * channels * grad.numel() / 1e9
    print(
        f"{channels:8} {size:4} {batch:5} {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f}"
        f" {torch_time / our_time:6.2f} {rate / torch_time:9.0f} {rate / our_time:9.0f}"
        f" {transform_time * 1e6:9.0f} {errors[0]:9.1e} {errors[1]:9.1e}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("rates in GFLOP/s of the direct algorithm")
    print(
        "channels size batch  torch us  vkdnw us  ratio  torch /s  vkdnw /s  weights us"
        " torch err vkdnw err"
    )
    with torch.inference_mode():
        for channels, size in LAYERS:
            for batch in BATCHES:
                compare(channels, size, batch)


if __name__ == "__main__":
    main()
