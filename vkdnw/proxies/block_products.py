"""Products of a block's cotangent with the gradient at its input, by autograd.

The tape of a pass computes the same where it can (:mod:`vkdnw.backward.train_tape`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.proxies.features import Feature, pixels


def block_product(into: Tensor, out: Tensor, before: Feature, after: Feature) -> Tensor | None:
    """The sum over pixels of G_in^T G_out, ``[r^2 Ci, C]`` float64; None where G_in is G_out.

    Args:
        into: G_in, the gradient of the feature in front of a block.
        out: G_out, the cotangent of the feature behind it.
        before, after: the features; r is the ratio of their sides. The pixels of G_in that become
            one pixel of G_out are stacked as channels.
    """
    if into.shape == out.shape and torch.equal(into, out):
        return None
    wide = pixels(into, before.channels)
    ratio = side_ratio(before, after)
    if ratio > 1:
        tiles = into.movedim(before.channels, -1)
        tiles = tiles.unflatten(2, (-1, ratio)).unflatten(1, (-1, ratio))  # [B, h, r, w, r, C]
        wide = tiles.transpose(2, 3).flatten(3).flatten(0, 2)  # [B h w, r^2 C]
    return (wide.T @ pixels(out, after.channels)).double()


def side_ratio(before: Feature, after: Feature) -> int:
    """How many times the sides of a feature are those of the next. Raises ValueError."""
    if before.shape[0] != after.shape[0]:
        raise ValueError(
            f"features {before.name} and {after.name} have {before.shape[0]} and "
            f"{after.shape[0]} rows on their first axis, and trainability needs those of the "
            "images; name other modules with features="
        )
    wide, narrow = before.sides, after.sides
    if wide == narrow:
        return 1
    ratio = wide[0] // narrow[0] if len(wide) == len(narrow) == 2 else 0
    if [side * ratio for side in narrow] != wide:
        raise ValueError(
            f"features {before.name} and {after.name} have {wide} and {narrow} pixels, and "
            "trainability needs sides that are divided by one whole number; name other modules "
            "with features="
        )
    return ratio
