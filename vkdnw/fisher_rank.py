"""Whether a Fisher matrix has the rank that its deciles need."""

from __future__ import annotations

import torch
from torch import Tensor


class ZeroFisherError(ValueError):
    """A Fisher information matrix is zero: there is no spectrum to make a score of."""


class LowRankWarning(UserWarning):
    """Deciles of a spectrum are zero: there are too few samples and classes for the scalars."""


def check_not_zero(ascending: Tensor) -> None:
    """Refuses a spectrum of zeros.

    Args:
        ascending: ``[P]`` eigenvalues.

    Raises:
        ZeroFisherError: it names the likely causes.
    """
    if not float(ascending[-1]) > 0.0:
        raise ZeroFisherError(
            f"the Fisher information matrix is zero: the logits depend on none of the "
            f"{len(ascending)} chosen scalars, or all samples are sure of their class; choose "
            "other scalars with weights=, or see the network's initialisation"
        )


def low_rank(ascending: Tensor, deciles: Tensor, samples: int, classes: int) -> str | None:
    """A warning about deciles that are zero; None where none is.

    A Fisher matrix of B samples and C classes has rank B (C - 1) at most. With fewer than some nine
    tenths of the scalars, the lowest deciles are zero whatever the network is, and the score moves
    with the batch; with fewer than a tenth, all are.
    """
    negligible = torch.finfo(torch.float64).eps ** 2 * float(ascending[-1])
    zeros = int((deciles <= negligible).sum())
    if zeros == 0:
        return None
    scalars, most = len(ascending), samples * (classes - 1)
    rank = int((ascending > negligible).sum())
    are = "is" if zeros == 1 else "are"
    said = (
        f"{zeros} of the nine deciles {are} zero: the Fisher matrix of {scalars} scalars has rank"
    )
    if most >= scalars:
        return (
            f"{said} {rank}, because the other scalars move no logit, or only as others do (layers "
            "that nothing reaches, units that are dead); choose other scalars with weights="
        )
    enough = -(-scalars // (classes - 1))
    return (
        f"{said} {rank}, and B (C - 1) = {samples} x {classes - 1} = {most} at most, so that the "
        f"score moves with the size of the batch; use {enough} samples or more, or {most} scalars "
        "or fewer (weights=)"
    )
