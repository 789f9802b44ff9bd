"""From the eigenvalues of a Fisher matrix to VKDNW (Tybl & Neumann, CVPR 2025, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

DECILES = (
    torch.arange(1, 10, dtype=torch.float64, device="cpu") / 10
)  # 0.1 .. 0.9; the extremes are left out
EPSILON = 1e-10  # keeps the logarithm and the division defined, as in the authors' code


def deciles(eigenvalues: Tensor) -> Tensor:
    """Quantiles 0.1, 0.2, ..., 0.9 of a spectrum.

    Args:
        eigenvalues: ``[P]``, non-negative, in any order.

    Returns:
        ``[9]`` float64, interpolated linearly between the two nearest eigenvalues.
    """
    return _quantiles(eigenvalues.double().sort().values, DECILES.to(eigenvalues.device))


def _quantiles(ascending: Tensor, levels: Tensor) -> Tensor:
    """Linear interpolation; torch.quantile refuses more than 2**24 numbers."""
    position = levels * (len(ascending) - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=len(ascending) - 1)
    return torch.lerp(ascending[below], ascending[above], position - below)


def entropy(quantiles: Tensor) -> float:
    """Entropy, in nats, of quantiles normalised to sum 1; between 0 and log(number of quantiles).

    A spectrum whose quantiles are all zero (far more scalars than ``B (C - 1)``, or a network that
    ignores its input) has entropy 0.
    """
    quantiles = quantiles.double()
    share = quantiles / (quantiles.abs().sum() + EPSILON)
    return max(0.0, float(-(share * torch.log(share + EPSILON)).sum()))
