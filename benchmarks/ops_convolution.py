"""vkdnw::conv3x3 and vkdnw::conv1x1 against torch: the ReLU in front, the convolution, and the
moments of the output.

Layers of NAS-Bench-201 in batches of 64, one thread, process CPU time, best of several runs taken
in turn. "torch" sums up the moments by the native op, since torch's own are of BatchNorm only.

    python benchmarks/ops_convolution.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.batch_norm import channel_moments
from vkdnw.ops.convolution import conv1x1, conv3x3, winograd_forward_weights

LAYERS = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCH = 64
REPEATS = 20

Output = tuple[Tensor, Tensor]


def native(x: Tensor, weight: Tensor) -> Callable[[], Output]:
    if weight.shape[-1] == 1:
        return lambda: conv1x1(x, weight, rectify=True)
    transformed = winograd_forward_weights(weight)
    return lambda: conv3x3(x, transformed, rectify=True)


def composed(x: Tensor, weight: Tensor) -> Output:
    found = F.conv2d(torch.relu(x), weight, padding=weight.shape[-1] // 2)
    return found, channel_moments(found)


def compare(channels: int, size: int, kernel: int) -> None:
    x = normal_images(BATCH, channels, size, size)
    weight = torch.randn(channels, channels, kernel, kernel)
    torch_time, our_time = best_times([lambda: composed(x, weight), native(x, weight)], REPEATS)
    print(
        f"{kernel:6} {channels:8} {size:4} {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f}"
        f" {torch_time / our_time:6.2f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("kernel channels size  torch us  vkdnw us  ratio")
    with torch.inference_mode():
        for kernel in (3, 1):
            for channels, size in LAYERS:
                compare(channels, size, kernel)


if __name__ == "__main__":
    main()
