"""AZ-NAS trainability: whether blocks keep the scale of gradients (Lee and Ham, CVPR 2024)."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from vkdnw.backward.random_signs import Signs, random_signs
from vkdnw.proxies.block_products import side_ratio
from vkdnw.proxies.eigenvalues import eigenvalues_of_all
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked, undefined

EPSILON = 1e-6  # keeps 1 / sigma defined, as in the authors' code


def mean_of_blocks(shared: TrainPass, call: Call) -> Value:
    """Mean over blocks k of T_k = 2 - sigma_k - 1 / sigma_k; at most 0, at sigma = 1.

    sigma_k is the largest singular value of M = G_(k-1)^T G_k / n, with G_k random signs of the
    shape of F_k, G_(k-1) their vector-Jacobian product through block k, and n the pixels of F_k in
    the batch (AZ-NAS, section 3.3). Where a block halves the image, the pixels of G_(k-1) that
    become one pixel are stacked as channels. Products run in the model's dtype, the singular
    value in float64.

    A block that returns its input gives minus infinity, as in the authors' code: its gradient
    keeps its scale because it does nothing. NaN where the sides of two features have no whole
    ratio: the pixels that become one are not known.
    """
    if reason := _unknown_sides(shared):
        return undefined(reason)
    squares = []
    for index in range(len(shared.features) - 1, 0, -1):
        matrix = shared.block_product(index)
        if matrix is None:
            name = shared.features[index].name
            return undefined(f"the block that ends in {name} returns its input", -math.inf)
        feature = shared.features[index]
        matrix = matrix / (feature.shape.numel() // feature.shape[feature.channels])
        squares.append(matrix @ matrix.T if len(matrix) < len(matrix.T) else matrix.T @ matrix)
    total = sum(block_trainability(spectrum) for spectrum in eigenvalues_of_all(squares))
    return checked(total / len(squares))


def block_trainability(spectrum: Tensor) -> float:
    """T_k, from the squares of the singular values of M."""
    largest = float(spectrum[-1].clamp(min=0.0).sqrt())
    return 2.0 - largest - 1.0 / (largest + EPSILON)


def request_products(shared: TrainPass, call: Call) -> None:
    """Requests products of the blocks with random signs."""
    if not _unknown_sides(shared):
        shared.request_block_products(_signs(shared, call))


def _unknown_sides(shared: TrainPass) -> str:
    """Why there is no trainability of these features; empty where there is."""
    try:
        for before, after in pairwise(shared.features):
            side_ratio(before, after)
    except ValueError as error:
        return str(error)
    return ""


def _signs(shared: TrainPass, call: Call) -> list[Tensor] | list[Signs]:
    """The cotangents of the features from the last to the second."""
    given = call.inputs.signs
    wanted = [feature.shape for feature in shared.features[:0:-1]]
    if given is None:
        source = call.generator("trainability")
        return [random_signs(shape, source) for shape in wanted]
    if [signs.shape for signs in given] != wanted:
        raise ValueError(
            f"inputs.signs has shapes {[list(signs.shape) for signs in given]}, and the features "
            f"from last to second have {[list(shape) for shape in wanted]}"
        )
    return list(given)


trainability = Proxy(
    name="trainability",
    title="AZ-NAS trainability",
    reference="Lee and Ham, AZ-NAS, CVPR 2024",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="minus infinity where a block returns its input; NaN where sides have no ratio",
    requires=("features",),
    request=request_products,
    from_pass=mean_of_blocks,
)
