"""Columns of the Jacobian for single scalar parameters of many layers, in one native call.

Tensors are on the CPU or on one CUDA device; tables of picks are on the CPU. The library checks all
arguments before it reads any of their memory. The compiled library is loaded on the first call;
where it is missing, plain torch operations compute the same. The op has no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.ops import plain, registration

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
    if not registration.native():
        plain.add_jacobian_columns(jacobian, inputs, grads, picks, affine)
        return jacobian
    load()
    torch.ops.vkdnw.jacobian_columns_(jacobian, list(inputs), list(grads), picks, affine)
    return jacobian


load = registration.loader({"vkdnw::jacobian_columns_": registration.changes_arguments})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
