"""Eigenvalues and singular values of the small matrices of proxies.

On a CPU they are LAPACK's. On another device they are the library's own
(:func:`vkdnw.ops.spectrum.low_rank_spectrum`): torch's for CUDA fail on matrices of low rank
(pytorch#94772, #105359), and copying each matrix to the CPU would wait for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.ops.spectrum import low_rank_spectrum


def eigenvalues(matrix: Tensor) -> Tensor:
    """Of positive semi-definite matrices ``[..., n, n]``: ``[..., n]`` float64 on the CPU.

    Ascending. Rounding may make those that are zero negative on a CPU; it never does elsewhere,
    where they are the singular values.
    """
    if matrix.device.type != "cpu":
        return singular_values(matrix).flip(-1)
    found: Tensor = torch.linalg.eigvalsh(matrix.double())
    return found


def singular_values(matrix: Tensor) -> Tensor:
    """Of ``[..., m, n]``: ``[..., min(m, n)]`` float64 on the CPU, descending."""
    matrix = matrix.detach().double()
    if matrix.device.type == "cpu":
        found: Tensor = torch.linalg.svdvals(matrix)
        return found
    # The op returns squares, which could overflow where the singular values do not.
    largest = matrix.abs().amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo().tiny)
    squares = low_rank_spectrum(matrix / largest)
    return (squares.sqrt() * largest[..., 0]).cpu().flip(-1)


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
