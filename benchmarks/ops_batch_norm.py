"""BatchNorm with the batch's statistics, forward and backward, against torch's.

Nodes of NAS-Bench-201 in batches of 64, one thread, process CPU time, best of several runs taken in
turn. "sum" is the output of BatchNorm added to another map, by torch in two passes; the native op
also returns the mask of the ReLU behind it.

    python benchmarks/ops_batch_norm.py
"""

from __future__ import annotations

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.batch_norm import (
    Summand,
    batch_norm_coefficients,
    batch_norm_factors,
    batch_norm_input_gradient,
    batch_norm_statistics,
    channel_moments,
    normalised_sum,
)

NODES = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCH = 64
EPS = 1e-5
REPEATS = 20

aten = torch.ops.aten


class ConvolutionAndNorm:
    """A convolution's output, its BatchNorm, and a gradient."""

    def __init__(self, channels: int, size: int) -> None:
        self.x, self.grad = (normal_images(BATCH, channels, size, size) for _ in range(2))
        self.weight, self.bias = torch.ones(channels), torch.zeros(channels)
        self.statistics = batch_norm_statistics(self.x, EPS)
        _, self.mean, self.inverse = self.torch_forward()

    def torch_forward(self) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm(
            self.x, self.weight, self.bias, None, None, True, 0.1, EPS
        )
        return found

    def torch_backward(self) -> Tensor:
        parts = aten.native_batch_norm_backward(
            self.grad, self.x, self.weight, None, None, self.mean, self.inverse, True, EPS,
            [True, False, False],
        )  # fmt: skip
        return parts[0]

    def forward(self, base: Tensor | None = None) -> Tensor:
        moments = channel_moments(self.x)
        _, factors = batch_norm_factors(moments, EPS, self.weight, self.bias)
        bases = [] if base is None else [Summand(base)]
        return normalised_sum([*bases, Summand(self.x, factors)])[0]

    def coefficients(self) -> Tensor:
        return batch_norm_coefficients(self.grad, self.x, self.statistics, self.weight)[0]

    def backward(self) -> Tensor:
        return batch_norm_input_gradient(self.grad, self.x, self.coefficients())


def compare(channels: int, size: int) -> None:
    layer = ConvolutionAndNorm(channels, size)
    times = best_times(
        [
            layer.torch_forward,
            layer.forward,
            lambda: layer.grad + layer.torch_forward()[0],
            lambda: layer.forward(base=layer.grad),
            layer.torch_backward,
            layer.backward,
        ],
        REPEATS,
    )
    print(f"{channels:8} {size:4}" + "".join(f"{1e6 * seconds:8.0f}" for seconds in times))


def main() -> None:
    torch.set_num_threads(1)
    print("microseconds:    forward         sum             backward")
    print("channels size   torch   vkdnw   torch   vkdnw   torch   vkdnw")
    with torch.inference_mode():
        for channels, size in NODES:
            compare(channels, size)


if __name__ == "__main__":
    main()
