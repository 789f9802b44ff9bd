"""vkdnw::jacobian_columns_ against the same picks composed from torch operations.

The layers of NAS-Bench-201's all-conv3x3 network (C = 16, N = 5) that hold its first 128 parameter
tensors, in channels-last: 32 of 16 channels at 32x32, 10 of 32 channels at 16x16; of each the
convolution's weight, its normalisation's weight and bias. Medians in ms. The last column is the
rate at which the cache lines that the picks touch are read, once each.

    python benchmarks/ops_jacobian_columns.py [--threads N] [--repeats N] [--json]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from measure import Table, arguments, medians
from torch import Tensor

from vkdnw.ops.jacobian_columns import ONES, jacobian_columns_

LAYERS = ((32, 16, 32), (10, 32, 16))  # how many, channels, height = width
CASES = (  # samples, cotangents, dtype
    (8, 1, torch.float32),
    (8, 9, torch.float32),
    (64, 1, torch.float32),
    (8, 1, torch.bfloat16),
    (8, 9, torch.bfloat16),
    (8, 1, torch.float64),
)
CACHE_LINE = 64


@dataclass(frozen=True)
class Problem:
    jacobian: Tensor
    inputs: list[Tensor]
    grads: list[Tensor]
    picks: Tensor
    affine: Tensor


def channels_last(outer: tuple[int, ...], channels: int, size: int, dtype: torch.dtype) -> Tensor:
    """[*outer, channels, 1, size, size]."""
    data = torch.randn(*outer, 1, size, size, channels).to(dtype)
    return data.movedim(-1, len(outer))


def problem(samples: int, cotangents: int, dtype: torch.dtype) -> Problem:
    inputs, grads, picks, affine = [], [], [], []
    for count, channels, size in LAYERS:
        for _ in range(count):
            layer, column = len(inputs), 3 * len(inputs)
            inputs.append(channels_last((samples,), channels, size, dtype))
            grads.append(channels_last((cotangents, samples), channels, size, dtype))
            picks.append([column, layer, 0, 0, 0, -1, -1, 1, 1, 1])
            picks.append([column + 1, layer, 0, 0, 0, 0, 0, 1, 1, 1])
            picks.append([column + 2, layer, 0, ONES, 0, 0, 0, 1, 1, 1])
            affine += [[0.0, 1.0], [0.1, 1.1], [0.0, 1.0]]
    accumulator = torch.float64 if dtype == torch.float64 else torch.float32
    jacobian = torch.zeros(samples, cotangents, len(picks), dtype=accumulator)
    return Problem(jacobian, inputs, grads, torch.tensor(picks), torch.tensor(affine).double())


def composed(p: Problem) -> Tensor:
    columns = []
    for x, g in zip(p.inputs, p.grads, strict=True):
        grad, plane = g[:, :, 0, 0], x[:, 0, 0]  # [K, b, H, W], [b, H, W]
        columns.append(torch.einsum("knhw,nhw->nk", grad[..., 1:, 1:], plane[:, :-1, :-1]))
        columns.append(1.1 * torch.einsum("knhw,nhw->nk", grad, plane - 0.1))
        columns.append(grad.sum((2, 3)).T)
    return torch.stack(columns, dim=-1)


def gigabytes_of_lines(p: Problem) -> float:
    """Every position of one channel is a cache line of its own, or shares one with its like."""
    elements = 0.0
    for tensor in (*p.inputs, *p.grads):
        channels, width = tensor.shape[-4], tensor.element_size()
        positions = tensor.numel() / channels
        elements += positions * min(CACHE_LINE, channels * width)
    return elements / 1e9


def main() -> None:
    options = arguments(__doc__ or "")
    columns = ("b", "K", "dtype", "torch ms", "vkdnw ms", "ratio", "error", "GB/s")
    table = Table(columns, options.json)
    for samples, cotangents, dtype in CASES:
        torch.manual_seed(0)
        p = problem(samples, cotangents, dtype)
        arguments_of_op = (p.inputs, p.grads, p.picks, p.affine)
        ours = jacobian_columns_(torch.zeros_like(p.jacobian), *arguments_of_op)
        error = ((ours - composed(p)).norm() / ours.norm()).item()
        times = medians(
            {
                "torch": lambda p=p: composed(p),
                "vkdnw": lambda p=p, a=arguments_of_op: jacobian_columns_(p.jacobian, *a),
            },
            options.repeats,
        )
        table.add(
            samples, cotangents, str(dtype)[6:], times["torch"], times["vkdnw"],
            times["torch"] / times["vkdnw"], error, 1e3 * gigabytes_of_lines(p) / times["vkdnw"],
        )  # fmt: skip


if __name__ == "__main__":
    main()
