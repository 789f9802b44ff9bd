"""Bit masks of ReLUs, slow and obvious: as `ops.convolution` returns them."""

from __future__ import annotations

import torch
from torch import Tensor


def packed(relu: Tensor) -> Tensor:
    """[M, H, W, C / 8] uint8 of a ReLU's [M, C, H, W] output: a bit is clear where it is <= 0."""
    samples, channels, height, width = relu.shape
    passes = (relu <= 0).logical_not().permute(0, 2, 3, 1)  # [M, H, W, C]
    bits = passes.reshape(samples, height, width, channels // 8, 8)
    return (bits * 2 ** torch.arange(8)).sum(-1).to(torch.uint8)
