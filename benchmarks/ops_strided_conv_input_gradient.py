"""vkdnw::strided_conv_input_gradient against torch's convolution_backward and threshold_backward.

The reductions of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn.

    python benchmarks/ops_strided_conv_input_gradient.py
"""

from __future__ import annotations

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.convolution import rectify, strided_conv_input_gradient

LAYERS = ((16, 32), (32, 16))  # input channels, height = width; twice the channels come out
BATCHES = (8, 16, 64)
REPEATS = 12


def composed(grad: Tensor, relu: Tensor, weight: Tensor) -> Tensor:
    gradient, _, _ = torch.ops.aten.convolution_backward(
        grad, relu, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
    )
    result: Tensor = torch.ops.aten.threshold_backward(gradient, relu, 0)
    return result


def compare(channels: int, size: int, batch: int) -> None:
    grad = normal_images(batch, 2 * channels, size // 2, size // 2)
    relu, mask = rectify(normal_images(batch, channels, size, size))
    weight = torch.randn(2 * channels, channels, 3, 3)
    taps = weight.permute(2, 3, 0, 1).contiguous()
    weight = weight.contiguous(memory_format=torch.channels_last)
    torch_time, our_time = best_times(
        [
            lambda: composed(grad, relu, weight),
            lambda: strided_conv_input_gradient(grad, taps, mask, (size, size), 2, 1),
        ],
        REPEATS,
    )
    rate = 2 * 9 * channels * grad.numel() / 1e9
    print(
        f"{channels:8} {size:4} {batch:5} {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f}"
        f" {torch_time / our_time:6.2f} {rate / torch_time:9.0f} {rate / our_time:9.0f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("rates in GFLOP/s")
    print("channels size batch  torch us  vkdnw us  ratio  torch /s  vkdnw /s")
    with torch.inference_mode():
        for channels, size in LAYERS:
            for batch in BATCHES:
                compare(channels, size, batch)


if __name__ == "__main__":
    main()
