"""Spectra of features: covariances of their channels, and the entropy of their eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.ops.covariance import channel_covariance
from vkdnw.ops.library import native
from vkdnw.proxies.eigenvalues import eigenvalues_of_all

ROWS = 4096
"""Pixels of a feature that are converted to float64 at a time: they fit a core's cache."""

NATIVE_CHANNELS = 256
"""Up to this width covariances are the library's own; wider ones are products of BLAS."""

NATIVE = ("cpu", torch.float32)


def covariance(rows: Tensor) -> Tensor:
    """Covariance of the columns of ``[pixels or tokens, channels]``, float64.

    Where there are fewer pixels than channels, the smaller Gram matrix of the same eigenvalues
    (but for zeros).
    """
    count, channels = rows.shape
    suits = channels <= min(count, NATIVE_CHANNELS) and (rows.device.type, rows.dtype) == NATIVE
    if suits and native():
        return channel_covariance(rows.contiguous())
    mean = rows.mean(0).double()  # its rounding enters the covariance by its square
    if count < channels:
        centred = rows.double() - mean
        matrix = centred @ centred.T
    else:
        matrix = torch.zeros(channels, channels, dtype=torch.float64, device=rows.device)
        for piece in rows.split(ROWS):
            centred = piece.to(torch.float64, copy=True).sub_(mean)
            matrix.addmm_(centred.T, centred)
    return matrix / count


def spectral_entropies(covariances: Sequence[Tensor]) -> list[float]:
    """Entropy in nats of the normalised eigenvalues of each covariance.

    S = -sum_i p_i log p_i with p = lambda / sum(lambda) (AZ-NAS, equation 3). Covariance and
    eigenvalues are float64 whatever the feature's dtype, and negative eigenvalues, which are
    rounding, count as zero: the entropy of a feature that varies at all is finite. NaN where it
    does not vary.
    """
    return [_entropy(spectrum) for spectrum in eigenvalues_of_all(covariances)]


def _entropy(spectrum: Tensor) -> float:
    positive = spectrum.clamp(min=0.0)
    total = positive.sum()
    if not total > 0:
        return math.nan
    return float(torch.special.entr(positive / total).sum())
