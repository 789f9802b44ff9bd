"""vkdnw::jacobian_columns_ against the memory bandwidth of the device.

The layers of NAS-Bench-201's all-conv3x3 network that hold its first 128 parameter tensors, in
channels-last, 64 samples, 9 cotangents, as vkdnw.score hands them over: inputs already cut to the
channels that are read. The bytes are those of the 32-byte sectors that are read, once
each; the bandwidth is that of copying a large tensor on the same device.

    python benchmarks/gpu/jacobian_columns.py [--device cpu] [--small] [--repeats N]
"""

from __future__ import annotations

import torch
from clock import Options, milliseconds_in_a_row, options, tell
from torch import Tensor

from vkdnw.ops.jacobian_columns import ONES, jacobian_columns_

LAYERS = ((32, 16, 32), (10, 32, 16))  # how many, channels, height = width
SECTOR = 32  # bytes that a GPU reads at least


def problem(o: Options, dtype: torch.dtype, packed: bool) -> tuple[list[Tensor], ...]:
    """Inputs, gradients, picks and affine of all layers; `packed` gradients are contiguous."""
    samples, cotangents = (2, 3) if o.small else (64, 9)
    inputs, grads, picks, affine = [], [], [], []
    for count, channels, size in LAYERS:
        for _ in range(1 if o.small else count):
            layer, column = len(inputs), 3 * len(inputs)
            x = torch.randn(samples, 1, 1, size, size, device=o.device)
            g = torch.randn(cotangents, samples, 1, size, size, channels, device=o.device)
            inputs.append(x.to(dtype))
            grad = g.to(dtype).movedim(-1, 2)[:, :, :1]
            grads.append(grad.contiguous() if packed else grad)
            picks.append([column, layer, 0, 0, 0, -1, -1, 1, 1, 1])
            picks.append([column + 1, layer, 0, 0, 0, 0, 0, 1, 1, 1])
            picks.append([column + 2, layer, 0, ONES, 0, 0, 0, 1, 1, 1])
            affine += [[0.0, 1.0], [0.1, 1.1], [0.0, 1.0]]
    return inputs, grads, [torch.tensor(picks)], [torch.tensor(affine).double()]


def bytes_read(tensors: list[Tensor]) -> int:
    """Of the sectors that hold the elements: each its own where they lie apart."""
    total = 0
    for tensor in tensors:
        apart = tensor.stride(-1) * tensor.element_size()
        total += tensor.numel() * min(SECTOR, max(apart, tensor.element_size()))
    return total


def bandwidth(o: Options) -> float:
    """Bytes a second of a copy, read and written."""
    source = torch.empty(2**20 if o.small else 2**30, dtype=torch.uint8, device=o.device)
    target = torch.empty_like(source)
    ms = milliseconds_in_a_row(lambda: target.copy_(source), o.device, o.repeats)
    return 2 * source.numel() / (1e-3 * ms)


def main() -> None:
    o = options(__doc__ or "")
    copying = bandwidth(o)
    tell("bandwidth of a copy", copying / 1e9, "GB/s")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for packed in (False, True):
            inputs, grads, (picks,), (affine,) = problem(o, dtype, packed)
            accumulator = torch.float64 if dtype == torch.float64 else torch.float32
            samples, cotangents = grads[0].shape[1], grads[0].shape[0]
            shape = (samples, cotangents, len(picks))
            jacobian = torch.zeros(shape, dtype=accumulator, device=o.device)
            ms = milliseconds_in_a_row(
                lambda a=(jacobian, inputs, grads, picks, affine): jacobian_columns_(*a),
                o.device,
                o.repeats,
            )
            rate = bytes_read([*inputs, *grads]) / (1e-3 * ms)
            layout = "contiguous" if packed else "channels-last"
            tell(
                f"op (a), {str(dtype)[6:]}, {layout}: share of bandwidth", rate / copying, "",
                milliseconds=ms, gigabytes_per_second=rate / 1e9,
            )  # fmt: skip


if __name__ == "__main__":
    main()
