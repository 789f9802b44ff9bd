"""vkdnw::avg_pool3x3_input_gradient against torch's avg_pool2d_backward, and against a copy.

Nodes of NAS-Bench-201, one thread, process CPU time, best of several runs taken in turn. The
copy of the gradient is the bound that memory sets.

    python benchmarks/ops_avg_pool3x3_input_gradient.py
"""

from __future__ import annotations

import torch
from measure.cpu_time import best_times, normal_images
from torch import Tensor

from vkdnw.ops.pooling import avg_pool3x3_input_gradient

NODES = ((16, 32), (32, 16), (64, 8))  # channels, height = width
BATCHES = (8, 16, 64)
REPEATS = 12


def torch_gradient(grad: Tensor) -> Tensor:
    result: Tensor = torch.ops.aten.avg_pool2d_backward(
        grad, grad, [3, 3], [1, 1], [1, 1], False, False, None
    )
    return result


def compare(channels: int, size: int, batch: int) -> None:
    grad = normal_images(batch, channels, size, size)
    torch_time, our_time, copy_time = best_times(
        [lambda: torch_gradient(grad), lambda: avg_pool3x3_input_gradient(grad), grad.clone],
        REPEATS,
    )
    print(
        f"{channels:8} {size:4} {batch:5} {torch_time * 1e6:9.0f} {our_time * 1e6:9.0f}"
        f" {copy_time * 1e6:8.0f} {torch_time / our_time:6.1f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("channels size batch  torch us  vkdnw us  copy us  ratio")
    with torch.inference_mode():
        for channels, size in NODES:
            for batch in BATCHES:
                compare(channels, size, batch)


if __name__ == "__main__":
    main()
