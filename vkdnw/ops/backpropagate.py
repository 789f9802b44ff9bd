"""Backward passes of a part of a network in one native call, without autograd.

A *tape* is a table of the steps that autograd would take: the gradients of feature maps ("values"),
from the known ones (the *cotangents*) down to the wanted ones. Each is the sum of terms, the data
gradients of layers. All run in one call: the gradients of a few samples go through many layers
while they are in a core's cache, sums need no pass over memory of their own, and layers that share
an input or an output share the transforms of Winograd's algorithm. Behind a layer
there may be a BatchNorm by the batch's own statistics. Its backward pass takes sums over all
samples: there the gradients of all samples are completed before the next layers.

The compiled library is loaded on the first call. The op has no derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from vkdnw.ops import registration


class Layer(IntEnum):
    """The linear layer of a term, and the weights that it needs."""

    IDENTITY = 0  # a sum; none
    CONV3X3 = 1  # stride 1, padding 1; winograd_weights of [Co, Ci, 3, 3], on a GPU [Co, 3, 3, Ci]
    CONV1X1 = 2  # stride 1, no padding; [Co, Ci, 1, 1] contiguous
    STRIDED_CONV = 3  # square stride and padding; [Kh, Kw, Co, Ci] contiguous
    AVG_POOL3X3 = 4  # stride 1, padding 1, left out of the count; none
    MEAN_POOL = 5  # size = stride, no padding; none
    SCALE = 6  # a product with one number; [1]
    DEPTHWISE_CONV = 7  # a filter a channel, square stride and padding; [Kh, Kw, C] contiguous


NONE = -1
"""In a term, for no weights, no mask or no norm."""


class Norm(NamedTuple):
    """A BatchNorm by the batch's own statistics, see :mod:`vkdnw.ops.batch_norm`."""

    x: Tensor  # [N, C, H, W] float32 channels_last, C a multiple of 16: its input
    statistics: Tensor  # [2, C] float64: batch_norm_statistics of it
    weight: Tensor  # [C] float32 contiguous


def backpropagate_(
    planes: Tensor,
    cotangents: Sequence[Tensor],
    weights: Sequence[Tensor],
    masks: Sequence[Tensor],
    values: Tensor,
    terms: Tensor,
    readings: Tensor,
    norms: Sequence[Norm] = (),
    matrices: Tensor | None = None,
    products: Tensor | None = None,
) -> Tensor:
    """Runs a tape for N samples, and writes channels of the gradients into `planes`.

    The gradients of values 0 .. len(cotangents) - 1 are given; that of every other value v is

        gradient[v] = sum over terms with destination v of mask * layer^T norm^T gradient[source]

    with layer^T the transpose of the linear layer, its data gradient, and norm^T that of the
    BatchNorm behind it, if there is one. Sums are taken in float32 in an order that depends on the
    tape alone; those of BatchNorms in float64. The bits do not depend on the number of threads, nor
    on other values of the tape, nor, without norms, on other samples of the batch. Working memory
    on the CPU: some megabytes a thread, and for all samples the gradients of the few values at
    which feature maps change their size, or that BatchNorms read; on a GPU: for each multiprocessor
    the gradients of one sample that its shared memory has no room for.

    Args:
        planes: flat float32, changed in place. On the CPU or on a CUDA device; cotangents, weights
            and masks are on the same one. Norms, products and packed cotangents work on the CPU
            alone.
        cotangents: gradients that are known, each [N, C, H, W] float32 channels_last; or where they
            are +1 and -1, [N, H, W, C / 8] uint8 contiguous: bit c % 8 of byte c / 8 is set for
            +1.
        weights: of the layers, see :class:`Layer`; all channel counts are multiples of 16.
        masks: of the ReLUs in front of convolutions and sums, each [M, H, W, C / 8], see
            :func:`vkdnw.ops.relu.rectify`; N is a multiple of M, sample n has mask n % M.
            A sum takes one where its channels are a multiple of 16.
        values: [V, 3] int64: channels, height, width.
        terms: [T, 8] int64: layer, source, destination, weights, mask, stride, padding, norm.
            Weights, masks and norms by position, NONE for none. Destinations ascend; sources are
            below them. Terms of one destination are cheapest with those next to each other that are
            convolutions of one kind and one mask.
        readings: [R, 4] int64: value, channel, offset, stride. The channel's plane [H, W] of sample
            n goes to planes[offset + n * stride :]. Values ascend, and are no packed cotangents.
        norms: of the terms.
        matrices: flat float64, changed in place; needed for products.
        products: [Q, 3] int64: value, cotangent, offset. The value's height and width are r times
            those of the cotangent. matrices[offset :] becomes [r, r, C, D], the sum over samples
            and pixels of gradient[n, r y + i, r x + j, c] * cotangent[n, y, x, d], in float32 over
            a sample and in float64 over samples; then a 1 if the gradient is equal to the
            cotangent, else 0. The value has terms; channels are multiples of 16.

    Returns:
        `planes`.

    Raises:
        ValueError: sizes, dtypes, devices or numbers that are not as above.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    torch.ops.vkdnw.backpropagate_(
        planes,
        list(cotangents),
        list(weights),
        list(masks),
        [norm.x for norm in norms],
        [norm.statistics for norm in norms],
        [norm.weight for norm in norms],
        values,
        terms,
        readings,
        torch.empty(0, dtype=torch.float64, device="cpu") if matrices is None else matrices,
        torch.empty(0, 3, dtype=torch.int64, device="cpu") if products is None else products,
    )
    return planes


load = registration.loader({"vkdnw::backpropagate_": registration.changes_arguments})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
