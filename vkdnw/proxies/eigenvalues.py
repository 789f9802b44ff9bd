"""Eigenvalues of the small matrices that proxies come down to."""

from __future__ import annotations

import torch
from torch import Tensor


def eigenvalues(matrix: Tensor) -> Tensor:
    """Of a symmetric matrix ``[n, n]``: ``[n]`` float64 on the CPU, ascending.

    LAPACK's, on any device: CUDA's fail on matrices of low rank (pytorch#94772, #105359).
    """
    found: Tensor = torch.linalg.eigvalsh(matrix.double().cpu())
    return found
