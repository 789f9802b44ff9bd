"""Gradients for several cotangents in one backward pass.

On a GPU a backward pass of a small network is hundreds of kernels that each wait longer to be
launched than they run. The cotangents of a chunk go through one pass side by side: ``vmap`` folds
them into the batch of every operator, so that there are as many launches as for one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.runtime.retry_on_oom import is_out_of_memory

AT_ONCE = {"cuda": 16}
"""Cotangents of a backward pass by type of device; elsewhere one. A core's cache is better used by
one at a time, and a thousand classes must not multiply the memory by a thousand."""


class CannotBatch(Exception):
    """An operation of the backward pass takes one cotangent at a time."""


def batched_vjp(
    logits: Tensor, edges: list[GradientEdge], cotangents: Tensor
) -> list[Tensor | None]:
    """Gradients at the edges for cotangents ``[K, C]`` shared by all samples of the batch.

    Returns:
        For each edge ``[K, ...]``, or None where no gradient arrives. The graph is kept.

    Raises:
        CannotBatch: ask for them one by one; the numbers are the same.
        RuntimeError: they do not fit the device; see :func:`is_out_of_memory`.
    """
    arrived: list[bool] = []

    def pull(cotangent: Tensor) -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(
            logits, edges, cotangent.expand_as(logits), retain_graph=True, allow_unused=True
        )
        arrived[:] = [gradient is not None for gradient in gradients]
        return tuple(gradient for gradient in gradients if gradient is not None)

    try:
        rows = iter(torch.func.vmap(pull)(cotangents.to(logits.dtype)))
    except RuntimeError as error:
        if is_out_of_memory(error):  # fewer samples at a time is the remedy, not one cotangent
            raise
        raise CannotBatch(str(error)) from error  # functions of the model's own, mostly
    return [next(rows) if there else None for there in arrived]
