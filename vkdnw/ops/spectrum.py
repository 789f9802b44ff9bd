"""Eigenvalues of a Gram matrix from its factor: by LAPACK on the CPU, by a native op with CUDA.

With CUDA, torch's singular values fail on matrices of low rank (pytorch#94772, #105359). The
compiled library is loaded on the first call with a CUDA tensor; where it is missing, torch's
singular values take the place of the op. Nothing here has a derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import registration


def low_rank_spectrum(factor: Tensor) -> Tensor:
    """Eigenvalues of factor^T factor, from the factor: the low-rank Fisher matrix is never formed.

    On the CPU they are the squared singular values by LAPACK. A singular value has an error of the
    order of n eps of the largest, n = max(M, P); one below that is rounding and becomes zero, as
    columns of zeros demand. `eigvalsh(factor.mT @ factor)` would lose all below sqrt(eps).

    With CUDA: Householder QR with column pivoting, then one-sided Jacobi on the triangle (Drmac and
    Veselic, SIAM J. Matrix Anal. Appl. 29, 2008). For a factor B D with D diagonal the relative
    error of *every* eigenvalue is of the order of eps times the condition of B, however small D
    makes it. Eigenvalues below 1e-30 (float32) or 1e-270 (float64) of the largest may underflow.

    Args:
        factor: [..., M, P] float64 or float32, M, P >= 1.

    Returns:
        [..., min(M, P)], same dtype, ascending: the eigenvalues that can differ from zero.

    Raises:
        ValueError: another dtype or shape, a NaN or an infinity, an eigenvalue that overflows.
        RuntimeError: the iteration did not converge; not known to happen.
    """
    if factor.device.type != "cuda" or not registration.native():
        return _squared_singular_values(factor)
    load()
    spectrum: Tensor = torch.ops.vkdnw.low_rank_spectrum(factor.contiguous())
    return spectrum


def _squared_singular_values(factor: Tensor) -> Tensor:
    _check(factor)
    singular = torch.linalg.svdvals(factor)  # [..., min(M, P)], descending
    rounding = max(factor.shape[-2:]) * torch.finfo(factor.dtype).eps * singular[..., :1]
    ascending = torch.where(singular > rounding, singular, 0.0).square().flip(-1)
    if bool(ascending.isinf().any()):
        matrix = _first(ascending.isinf().any(-1))
        raise ValueError(
            f"an eigenvalue of matrix {matrix} of the batch overflows the dtype of factor; scale "
            "the factor down or use float64"
        )
    return ascending


def _check(factor: Tensor) -> None:
    """The refusals of the native op."""
    if factor.dim() < 2:
        raise ValueError(f"factor has {factor.dim()} dimensions; it must be [..., M, P]")
    if factor.dtype not in (torch.float64, torch.float32):
        raise ValueError(f"factor is {factor.dtype}; it must be float64 or float32")
    rows, columns = factor.shape[-2:]
    if rows == 0 or columns == 0:
        raise ValueError(
            f"factor has matrices of {rows} by {columns}; each needs a row and a column"
        )
    finite = torch.isfinite(factor).flatten(-2).all(-1)
    if not bool(finite.all()):
        raise ValueError(
            f"factor has a NaN or an infinity in matrix {_first(~finite)} of the batch; check the "
            "model's weights, its input and its dtype"
        )


def _first(marked: Tensor) -> int:
    return int(marked.flatten().nonzero()[0])


def _fake_low_rank_spectrum(factor: Tensor) -> Tensor:
    return factor.new_empty((*factor.shape[:-2], min(factor.shape[-2:])))


load = registration.loader({"vkdnw::low_rank_spectrum": _fake_low_rank_spectrum})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
