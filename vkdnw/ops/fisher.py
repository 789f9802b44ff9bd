"""The Fisher information matrix from Jacobians and probabilities, and its factor, as native ops.

Tensors are on the CPU or on one CUDA device. The compiled library is loaded on the first call;
where it is missing, plain torch operations compute the same. The ops have no derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import plain, registration


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
    if not registration.native():
        plain.add_fisher(fisher, jacobian, probabilities, released, scale)
        return fisher
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
    if not registration.native():
        return plain.fisher_factor(jacobian, probabilities, released)
    load()
    factor: Tensor = torch.ops.vkdnw.fisher_factor(jacobian, probabilities.contiguous(), released)
    return factor


def _fake_fisher_factor(jacobian: Tensor, probabilities: Tensor, released: bool) -> Tensor:
    samples, classes = probabilities.shape
    rows = classes if released else classes - 1
    return jacobian.new_empty((samples * rows, jacobian.shape[2]), dtype=torch.float64)


load = registration.loader(
    {
        "vkdnw::fisher_accumulate_": registration.changes_arguments,
        "vkdnw::fisher_factor": _fake_fisher_factor,
    }
)
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
