"""Covariance of the channels of a feature map on the CPU, in one pass over it.

The compiled library is loaded on the first call. The op has no derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.ops import registration


def channel_covariance(rows: Tensor) -> Tensor:
    """``sum_r (x_r - mean) (x_r - mean)^T / n``, in float64 throughout.

    Columns are taken relative to the first row, so that the covariance of a constant column is
    zero and a large mean costs no digits. The bits of the result do not depend on the number of
    threads. Working memory: C^2 numbers for every 8,192 rows.

    Args:
        rows: [n, C] float32 contiguous.

    Returns:
        [C, C] float64.

    Raises:
        ValueError: another number of dimensions, dtype, device or layout, or no numbers.
        NativeLibraryError: the compiled library is missing or does not fit this machine.
    """
    load()
    result: Tensor = torch.ops.vkdnw.channel_covariance(rows)
    return result


def _fake_covariance(rows: Tensor) -> Tensor:
    return rows.new_empty((rows.shape[1], rows.shape[1]), dtype=torch.float64)


load = registration.loader({"vkdnw::channel_covariance": _fake_covariance})
"""Loads the library; :func:`vkdnw.ops.registration.loader` says who has to call it."""
