"""vkdnw::conv_input_gradient against torch's convolution_backward and threshold_backward.

Layers of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn. Both
sides see the same data: torch reads the ReLU's output as its mask, the op a mask of bits. "copies"
is how many such sets of data the calls take in turn: one set stays in the cache, 64 come from
memory, as in the backward pass of a network. The error is the largest one, relative to the largest
element of the float64 gradient before masking.

    python benchmarks/ops_conv_input_gradient.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.backpropagate import Layer
from vkdnw.ops.convolution import conv_input_gradient, packed_weight
from vkdnw.ops.relu import rectify

BATCHES = ((8, 1), (16, 1), (64, 1), (16, 64))  # samples, copies of the data
REPEATS = 12


@dataclass(frozen=True)
class Convolution:
    """A layer of the benchmark."""

    layer: Layer
    channels: tuple[int, int]  # of the output and of the input
    size: int  # height and width of the input
    kernel: int
    stride: int
    padding: int


LAYERS = [
    Convolution(layer, (channels * stride, channels), size, kernel, stride, padding)
    for layer, kernel, stride, padding in (
        (Layer.CONV3X3, 3, 1, 1),
        (Layer.CONV1X1, 1, 1, 0),
        (Layer.STRIDED_CONV, 3, 2, 1),
    )
    for channels, size in ((16, 32), (32, 16), (64, 8))
]


def by_torch(conv: Convolution, grad: Tensor, relu: Tensor, weight: Tensor) -> Tensor:
    stride, padding = [conv.stride] * 2, [conv.padding] * 2
    gradient, _, _ = torch.ops.aten.convolution_backward(
        grad, relu, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [True, False, False]
    )
    result: Tensor = torch.ops.aten.threshold_backward(gradient, relu, 0)
    return result


def compare(conv: Convolution, batch: int, copies: int) -> None:
    torch.manual_seed(0)
    outputs = conv.size // conv.stride
    grad = normal_images(batch, conv.channels[0], outputs, outputs)
    x = normal_images(batch, conv.channels[1], conv.size, conv.size)
    weight = torch.randn(*conv.channels, conv.kernel, conv.kernel)
    packed = packed_weight(conv.layer, weight)
    weight = weight.contiguous(memory_format=torch.channels_last)
    data = itertools.cycle([(grad.clone(), *rectify(x)) for _ in range(copies)])
    geometry = (conv.size, conv.size), conv.stride, conv.padding

    def composed() -> Tensor:
        grad, relu, _ = next(data)
        return by_torch(conv, grad, relu, weight)

    def native() -> Tensor:
        grad, _, mask = next(data)
        return conv_input_gradient(conv.layer, grad, packed, mask, *geometry)

    calls: list[Callable[[], Tensor]] = [composed, native]
    exact = by_torch(conv, grad.double(), torch.ones_like(x).double(), weight.double())
    errors = [((call() - exact * (x > 0)).abs().max() / exact.abs().max()).item() for call in calls]
    torch_time, our_time = best_times(calls, REPEATS)
    rate = 2 * conv.kernel**2 * conv.channels[1] * grad.numel() / 1e9
    print(
        f"{conv.layer.name:13} {conv.channels[1]:8} {conv.size:4} {batch:5} {copies:6}"
        f" {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f} {torch_time / our_time:6.2f}"
        f" {rate / torch_time:9.0f} {rate / our_time:9.0f} {errors[0]:9.1e} {errors[1]:9.1e}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("rates in GFLOP/s of the direct algorithm")
    print(
        "layer         channels size batch copies  torch us  vkdnw us  ratio  torch /s  vkdnw /s"
        " torch err vkdnw err"
    )
    with torch.inference_mode():
        for conv in LAYERS:
            for batch, copies in BATCHES:
                compare(conv, batch, copies)


if __name__ == "__main__":
    main()
