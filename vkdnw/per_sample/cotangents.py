"""The combinations of logits that a call differentiates, as data: ``[K, C]`` is never stored.

Every class, or every class but one, means K as large as C: for a vocabulary of 50,000 a matrix of
them takes 20 GB in float64. A pass takes one row, or a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassCotangents:
    """K rows ``[C]`` of zeros and ones, float64, made on demand.

    ``every`` is the identity. ``differences`` are those of each class to the last, C - 1 rows.
    ``leading`` are the first C - 1 rows of the identity.
    """

    kind: Literal["every", "differences", "leading"]
    classes: int
    device: torch.device

    def __len__(self) -> int:
        return self.classes - (self.kind != "every")

    def __getitem__(self, rows: slice) -> Tensor:
        """The rows ``[k, C]`` of a slice."""
        chosen = range(len(self))[rows]
        shape = len(chosen), self.classes
        found = torch.zeros(shape, dtype=torch.float64, device=self.device)
        if len(chosen):
            found[:, chosen.start : chosen.stop].fill_diagonal_(1.0)
        if self.kind == "differences":
            found[:, -1] = -1.0
        return found

    def __iter__(self) -> Iterator[Tensor]:
        for row in range(len(self)):
            yield self[row : row + 1][0]

    def combined(self, factors: Tensor) -> Tensor:
        """``factors [..., K] @ cotangents``: ``[..., C]``."""
        factors = factors.to(self.device, non_blocking=True)
        if self.kind == "every":
            return factors
        last = -factors.sum(-1, keepdim=True)
        return torch.cat([factors, last if self.kind == "differences" else 0 * last], dim=-1)

    def applied(self, derivatives: Tensor) -> Tensor:
        """``cotangents @ derivatives [b, C, P]`` of logits: ``[b, K, P]``."""
        if self.kind == "every":
            return derivatives
        if self.kind == "leading":
            return derivatives[:, :-1].contiguous()
        return derivatives[:, :-1] - derivatives[:, -1:]


Cotangents = Tensor | ClassCotangents
"""``[K, C]``, as a tensor or as a description: both have a length, rows and slices of rows."""


def applied(cotangents: Cotangents, derivatives: Tensor) -> Tensor:
    """``cotangents [K, C] @ derivatives [b, C, P]``: ``[b, K, P]``."""
    if isinstance(cotangents, ClassCotangents):
        return cotangents.applied(derivatives)
    return torch.einsum("kc,bcp->bkp", cotangents.to(derivatives), derivatives)


def combined(factors: Tensor, cotangents: Cotangents) -> Tensor:
    """``factors [..., K] @ cotangents [K, C]`` in float64: ``[..., C]``."""
    if isinstance(cotangents, ClassCotangents):
        return cotangents.combined(factors.double())
    return factors.to(cotangents.device).double() @ cotangents.double()
