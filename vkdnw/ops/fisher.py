"""The native ops: typed wrappers around `torch.ops.vkdnw`, with shapes, dtypes and errors.

They take tensors on the CPU or on a CUDA device, all on one; tables of picks stay on the CPU.
The compiled library is loaded on the first call. The ops have no derivatives; all arguments are
taken as data. Argument errors are `ValueError`s that name the argument: they are found in the
library, before any memory is touched, so that a call with hundreds of tensors stays cheap.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.ops import fake_kernels

PICK_FIELDS = 10
"""Fields of a pick: column, layer, grad channel, input channel, three starts, three steps."""

ONES = -1
"""Input channel of a pick whose factor is one at every output position (a bias)."""


def jacobian_columns_(
    jacobian: Tensor,
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    picks: Tensor,
    affine: Tensor,
) -> Tensor:
    """Adds the Jacobian columns of single scalar parameters of many layers, in one call.

    For pick q = (column, layer l, gc, ic, start, step) with affine (shift, scale):

        jacobian[n, k, column] += scale * sum_o grads[l][k, n, gc, o]
                                                * (inputs[l][n, ic, start + step * o] - shift)

    over the output positions o = (o1, o2, o3) whose input position lies inside the input: zero
    padding contributes nothing. With ic = ONES the factor is 1 and every position counts.
    Picks that name one column add up, in their order. Sums are taken per sample, in float64 for
    float64 data and in float32 otherwise, with the same bits for any number of threads.

    Args:
        jacobian: [b, K, P], columns contiguous; float64 for float64 layers, float32 for others.
        inputs: for each layer [b, Cx, X1, X2, X3], any strides; float64/32/16 or bfloat16.
        grads: for each layer [K, b, Cg, G1, G2, G3], any strides, of K cotangents; dtype of inputs.
        picks: [Q, 10] int64 on the CPU; start may be negative (padding), steps are at least 1.
        affine: [Q, 2] float64 on the CPU: shift, scale.

    Returns:
        `jacobian`, changed in place.

    Raises:
        ValueError: sizes, dtypes, devices or picks that are not as above.
    """
    load()
    torch.ops.vkdnw.jacobian_columns_(jacobian, list(inputs), list(grads), picks, affine)
    return jacobian


def fisher_accumulate_(
    fisher: Tensor,
    jacobian: Tensor,
    probabilities: Tensor,
    *,
    released: bool = False,
    scale: float = 1.0,
) -> Tensor:
    """Adds scale * sum_n A_n^T A_n, A_n the softmax factor applied to the Jacobian of sample n.

    diag(p) - p p^T = L L^T with L lower triangular, its last column zero. A_n = L_n^T J_n, so that
    the sum is the Fisher information of the softmax; with `released` A_n = L_n J_n, the convention
    of the published code. No A_n is stored: a tile of 256 rows exists at a time, 256 P numbers.

    Sums are taken in the dtype of `fisher`, whatever that of `jacobian`, in an order that does not
    depend on the number of threads; the result is exactly symmetric.

    Args:
        fisher: [P, P] float64 or float32, contiguous; only its lower triangle is read.
        jacobian: [B, C - 1, P] float64 or float32. The rows J_j - J_{C-1}, j < C - 1: L^T J depends
            on differences between classes only. With `released` the first C - 1 rows of J: the
            last has weight zero.
        probabilities: [B, C] float64. They sum to 1; with `released` they may miss it, and
            q_j = 1 - (p_0 + ... + p_j) takes the place of p_{j+1} + ... + p_{C-1}.
        released: use L J instead of L^T J.
        scale: a finite factor, for example 1 / B.

    Returns:
        `fisher`, changed in place.

    Raises:
        ValueError: arguments that are not as above; with `released`, also probabilities that leave
            q_j <= 0 before the last class (without, such a row is zero, its limit).
    """
    load()
    torch.ops.vkdnw.fisher_accumulate_(
        fisher, jacobian, probabilities.contiguous(), released, float(scale)
    )
    return fisher


def fisher_factor(jacobian: Tensor, probabilities: Tensor, *, released: bool = False) -> Tensor:
    """The factor that `fisher_accumulate_` multiplies with itself, as a matrix.

    Args:
        jacobian: [B, C - 1, P], as for `fisher_accumulate_`.
        probabilities: [B, C] float64.
        released: use L J instead of L^T J.

    Returns:
        [B * R, P] float64, the A_n one after the other; R = C - 1, or C with `released`.

    Raises:
        ValueError: as `fisher_accumulate_` does.
    """
    load()
    factor: Tensor = torch.ops.vkdnw.fisher_factor(jacobian, probabilities.contiguous(), released)
    return factor


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
    load()
    spectrum: Tensor = torch.ops.vkdnw.low_rank_spectrum(factor.contiguous())
    return spectrum


def _change_in_place(*args: object) -> None:
    """The fake of an op that only changes its first argument."""


def _fake_fisher_factor(jacobian: Tensor, probabilities: Tensor, released: bool) -> Tensor:
    samples, classes = probabilities.shape
    rows = classes if released else classes - 1
    return jacobian.new_empty((samples * rows, jacobian.shape[2]), dtype=torch.float64)


def _fake_low_rank_spectrum(factor: Tensor) -> Tensor:
    return factor.new_empty((*factor.shape[:-2], min(factor.shape[-2:])))


load = fake_kernels.loader(
    {
        "vkdnw::jacobian_columns_": _change_in_place,
        "vkdnw::fisher_accumulate_": _change_in_place,
        "vkdnw::fisher_factor": _fake_fisher_factor,
        "vkdnw::low_rank_spectrum": _fake_low_rank_spectrum,
    }
)
"""Loads the library. Every wrapper calls it; code that is compiled with `fullgraph=True`, or that
calls `torch.ops.vkdnw` itself, calls it once before."""
