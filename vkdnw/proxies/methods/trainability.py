"""AZ-NAS trainability: whether blocks keep the scale of gradients (Lee and Ham, CVPR 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vkdnw.proxies.draws import random_signs
from vkdnw.proxies.eigenvalues import eigenvalues
from vkdnw.proxies.features import Feature, pixels
from vkdnw.proxies.proxy import Call, Proxy
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

    A block that returns what it reads gives minus infinity, as in the authors' code: its gradient
    keeps its scale because it does nothing.
    """
    signs = _signs(shared, call)
    total = 0.0
    for index in range(len(shared.features) - 1, 0, -1):
        value = block_trainability(shared, index, next(signs))
        if isinstance(value, str):
            return undefined(value, -math.inf)
        total += value
    return checked(total / (len(shared.features) - 1))


def block_trainability(shared: TrainPass, index: int, out: Tensor) -> float | str:
    """T_k of the block that ends in feature ``index``, or why it is minus infinity."""
    before, after = shared.features[index - 1], shared.features[index]
    into = shared.feature_gradient(index, out)
    if into.shape == out.shape and torch.equal(into, out):
        return f"the block that ends in {after.name} returns what it reads"
    rows = pixels(out, after.channels)
    product = (_rows(into, before, after).T @ rows).double() / len(rows)
    small = product @ product.T if len(product) < len(product.T) else product.T @ product
    largest = float(eigenvalues(small)[-1].clamp(min=0.0).sqrt())
    return 2.0 - largest - 1.0 / (largest + EPSILON)


def _rows(into: Tensor, before: Feature, after: Feature) -> Tensor:
    """The gradient ``[pixels of the block's output, channels]``."""
    wide, narrow = before.sides, after.sides
    if wide == narrow:
        return pixels(into, before.channels)
    stride = wide[0] // narrow[0] if len(wide) == len(narrow) == 2 else 0
    if [side * stride for side in narrow] != wide:
        raise ValueError(
            f"features {before.name} and {after.name} have {wide} and {narrow} pixels, and "
            "trainability needs sides that are divided by one whole number; name other modules "
            "with features="
        )
    tiles = into.movedim(before.channels, -1)
    tiles = tiles.unflatten(2, (-1, stride)).unflatten(1, (-1, stride))  # [B, h, s, w, s, C]
    rows: Tensor = tiles.transpose(2, 3).flatten(3).flatten(0, 2)  # [B h w, stride^2 C]
    return rows


def _signs(shared: TrainPass, call: Call) -> Iterator[Tensor]:
    """The cotangents of the features from the last to the second."""
    given = call.inputs.signs
    wanted = [feature.shape for feature in shared.features[:0:-1]]
    if given is None:
        source = call.generator("trainability")
        given = tuple(random_signs(shape, source) for shape in wanted)
    if [signs.shape for signs in given] != wanted:
        raise ValueError(
            f"inputs.signs has shapes {[list(signs.shape) for signs in given]}, and the features "
            f"from last to second have {[list(shape) for shape in wanted]}"
        )
    for signs, feature in zip(given, shared.features[:0:-1], strict=True):
        yield signs.to(device=shared.batch.device, dtype=feature.dtype)


trainability = Proxy(
    name="trainability",
    title="AZ-NAS trainability",
    reference="Lee and Ham, AZ-NAS, CVPR 2024",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="minus infinity where a block returns what it reads",
    observes=("features",),
    reduce=mean_of_blocks,
)
