"""Eigenvalues of the small matrices that proxies come down to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def eigenvalues(matrix: Tensor) -> Tensor:
    """Of symmetric matrices ``[..., n, n]``: ``[..., n]`` float64 on the CPU, ascending.

    LAPACK's, on any device: CUDA's fail on matrices of low rank (pytorch#94772, #105359).
    """
    found: Tensor = torch.linalg.eigvalsh(matrix.double().cpu())
    return found


def eigenvalues_of_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Of several; those of one size in one call, which takes a small matrix half as long."""
    by_size: dict[int, list[int]] = {}
    for number, matrix in enumerate(matrices):
        by_size.setdefault(len(matrix), []).append(number)
    found = {
        number: spectrum
        for numbers in by_size.values()
        for number, spectrum in zip(
            numbers, eigenvalues(torch.stack([matrices[n] for n in numbers])), strict=True
        )
    }
    return [found[number] for number in range(len(matrices))]
