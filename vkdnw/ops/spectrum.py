"""Eigenvalues of a Gram matrix from its factor, as a native op.

Tensors are on the CPU or on a CUDA device. The compiled library is loaded on the first call; where
it is missing, LAPACK's singular values take its place. The op has no derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import plain, registration


def low_rank_spectrum(factor: Tensor) -> Tensor:
    """Eigenvalues of factor^T factor, from the factor: the low-rank Fisher matrix is never formed.

    Householder QR with column pivoting, then one-sided Jacobi on the triangle (Drmac and Veselic,
    SIAM J. Matrix Anal. Appl. 29, 2008). For a factor B D with D diagonal the relative error of
    *every* eigenvalue is of the order of eps times the condition of B, however small D makes it;
    `eigvalsh(factor.mT @ factor)` loses all below eps times the largest, `svdvals` all below eps^2.
    That accuracy costs time: a [576, 128] in float64 takes 1.6 times as long as svdvals on a core.
    Matrices of a batch run in parallel; the result does not depend on the number of threads.

    Eigenvalues below 1e-30 (float32) or 1e-270 (float64) of the largest may underflow.

    Args:
        factor: [..., M, P] float64 or float32, M, P >= 1.

    Returns:
        [..., min(M, P)], same dtype, ascending: the eigenvalues that can differ from zero.

    Raises:
        ValueError: another dtype or shape, a NaN or an infinity, an eigenvalue that overflows.
        RuntimeError: the iteration did not converge; not known to happen.
    """
    if not registration.native():
        return plain.low_rank_spectrum(factor)
    load()
    spectrum: Tensor = torch.ops.vkdnw.low_rank_spectrum(factor.contiguous())
    return spectrum


def _fake_low_rank_spectrum(factor: Tensor) -> Tensor:
    return factor.new_empty((*factor.shape[:-2], min(factor.shape[-2:])))


load = registration.loader({"vkdnw::low_rank_spectrum": _fake_low_rank_spectrum})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
