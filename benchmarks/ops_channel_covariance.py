"""vkdnw::channel_covariance against float64 products by torch, and torch's float32 covariance.

Features of NAS-Bench-201 in batches of 64, one thread, process CPU time, best of several runs taken
in turn. "float64" converts a few thousand rows at a time, as the library does for wide features.

    python benchmarks/ops_channel_covariance.py
"""

from __future__ import annotations

import torch
from measure.cpu_time import best_times
from torch import Tensor

from vkdnw.ops.covariance import channel_covariance

FEATURES = ((16, 32), (32, 16), (64, 8), (128, 8), (256, 8))  # channels, height = width
BATCH = 64
ROWS = 4096
REPEATS = 20


def in_float64(rows: Tensor) -> Tensor:
    mean = rows.mean(0).double()
    total = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
    for piece in rows.split(ROWS):
        centred = piece.to(torch.float64, copy=True).sub_(mean)
        total.addmm_(centred.T, centred)
    return total / len(rows)


def compare(channels: int, size: int) -> None:
    rows = torch.randn(BATCH * size * size, channels)
    single, double, ours = best_times(
        [
            lambda: torch.cov(rows.T, correction=0),
            lambda: in_float64(rows),
            lambda: channel_covariance(rows),
        ],
        REPEATS,
    )
    print(
        f"{channels:8} {len(rows):6} {single * 1e6:11.0f} {double * 1e6:11.0f} {ours * 1e6:9.0f}"
        f" {double / ours:6.2f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("ratio: float64 / vkdnw")
    print("channels   rows  float32 us  float64 us  vkdnw us  ratio")
    with torch.inference_mode():
        for channels, size in FEATURES:
            compare(channels, size)


if __name__ == "__main__":
    main()
