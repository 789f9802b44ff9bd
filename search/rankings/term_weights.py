"""Weights of an aggregate's terms that follow from the terms alone, without any accuracy.

Both functions take the terms as float64 ``[terms, networks]``, logarithms of ranks, and return a
weight for each. They depend on the networks that are ranked together, as ranks do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

AGREEMENT_STEPS = 20
"""The weights of every space that was tried stand still to three digits after five."""

SAME = 1e-9
"""A term whose residual is this small, of its own deviation, is the size itself."""


def agreeing_weights(places: Vector, weights: Vector) -> Vector:
    """Weights times how far each term agrees with all of them together.

    In step t the sum is ``s = sum_k w_k x_k``, and ``w_k`` becomes ``weights_k * max(0, corr(x_k,
    s))``: a step of the power iteration for the first principal component of the terms, with
    negative loadings cut off. A term that orders the networks of a space at random, or against the
    others, loses its weight there. Compare Parisi et al. 2014, "Ranking and combining multiple
    predictors without labeled data", PNAS 111.

    Args:
        places: logarithms of ranks, float64 ``[terms, networks]``.
        weights: positive, float64 ``[terms]``.

    Returns:
        float64 ``[terms]``; all 0 where no term tells networks apart.
    """
    centred = places - places.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1)
    agreeing = np.where(lengths > 0, weights, 0.0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    for _ in range(AGREEMENT_STEPS):
        total = agreeing @ centred
        length = float(np.linalg.norm(total))
        if length == 0:
            return np.zeros_like(weights)
        agreeing = weights * np.clip(centred @ total / (lengths * length), 0.0, None)
    return agreeing


def residual_weights(places: Vector) -> Vector:
    """The first term, and what the others have in common beyond it.

    Let ``z_0`` be the first term and ``r_k`` the residual of term k in a line in ``z_0``, all of
    mean 0 and deviation 1, and ``(l, v)`` the greatest eigenvalue and eigenvector of the
    correlations of the m residuals, with ``sum(v) >= 0``. The sum is ``z_0 + w F`` with the factor
    ``F = v @ r / sqrt(l)``, of deviation 1, and

        w = (l - 1) / (m - 1) * sqrt(sum(v) / sqrt(m)).

    The first factor of w is the share of their variance that the residuals have in common beyond
    chance (0 where they are uncorrelated, 1 where they are equal). The second is 1 where all of
    them have one sign in F, and goes to 0 where the sign of F cannot be told. Loadings may be
    negative: a term that repeats the size and otherwise disagrees with the others is subtracted.

    Args:
        places: logarithms of ranks, float64 ``[terms, networks]``; the first term is the size.

    Returns:
        float64 ``[terms]``, of the terms as they were given. Terms that tell no networks apart, or
        repeat the first, have weight 0; with fewer than two others, only the first has one.
    """
    centred = places - places.mean(axis=1, keepdims=True)
    deviations = centred.std(axis=1)
    scale = np.where(deviations > 0, deviations, np.inf)  # a constant term has weight 0
    standard = centred / scale[:, None]
    slopes = standard @ standard[0] / standard.shape[1]
    residuals = standard - slopes[:, None] * standard[0]
    left = residuals.std(axis=1)
    others = np.flatnonzero(left > SAME)
    others = others[others > 0]
    found = np.zeros(len(places))
    found[0] = 1.0
    if len(others) > 1:
        shares = _common_factor(residuals[others] / left[others, None]) / left[others]
        found[others] = shares
        found[0] -= shares @ slopes[others]
    return np.asarray(found / scale, np.float64)


def _common_factor(residuals: Vector) -> Vector:
    """The weights ``w v / sqrt(l)`` of residuals of deviation 1, ``[m, networks]``."""
    terms, networks = residuals.shape
    eigenvalues, vectors = np.linalg.eigh(residuals @ residuals.T / networks)
    greatest, vector = eigenvalues[-1], vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1.0)
    in_common = (greatest - 1) / (terms - 1)
    one_sign = np.sqrt(vector.sum() / np.sqrt(terms))
    return np.asarray(in_common * one_sign * vector / np.sqrt(greatest), np.float64)
