"""The exact fallback: autograd itself, one sample at a time, for parameters without a rule.

It covers everything that autograd differentiates: bare parameters, attention, recurrent layers,
parametrised weights, custom functions. The arithmetic is that of the batched backward passes; the
cost is that of batches of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vkdnw.checks import check_logits
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.plan import Plan
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem


def add_fallback_columns(
    jacobian: Tensor,
    problem: Problem,
    trace: Trace,
    plan: Plan,
    samples: range,
    cotangents: Cotangents,
) -> Tensor:
    """Fills the fallback's columns of a chunk's Jacobian ``[b, K, P]`` in place.

    Args:
        samples: the chunk's samples, as positions in the batch.
        cotangents: ``[K, C]``.

    Returns:
        The logits ``[b, C]`` of these samples.
    """
    parameters = dict(problem.model.named_parameters())
    chosen = [parameters[term.name] for term in plan.fallback]
    logits = []
    for n, sample in enumerate(samples):
        alone = _forward_alone(problem, trace, sample)
        logits.append(alone.detach()[0])
        for k, cotangent in enumerate(cotangents):
            row = torch.zeros_like(alone)
            row[0] = cotangent.to(alone)
            gradients = _gradients(alone, chosen, row)
            for term, gradient in zip(plan.fallback, gradients, strict=True):
                if gradient is not None:
                    indices = term.indices.to(gradient.device)
                    jacobian[n, k, term.columns] = _flat(gradient)[indices].to(jacobian.dtype)
    return torch.stack(logits)


def _forward_alone(problem: Problem, trace: Trace, sample: int) -> Tensor:
    """Logits of one sample; ``[2, C]``, twice the same, for a model that needs a batch."""
    piece = problem.batch.samples(range(sample, sample + 1), None, trace.fewest)
    logits = problem.logits(piece)
    check_logits(logits, piece.size)
    if logits.shape[1] != trace.classes:
        raise ValueError(
            f"the model returns {trace.classes} logits for some samples and {logits.shape[1]} for "
            f"sample {sample}; the number of classes must not depend on the data"
        )
    return logits


def _gradients(logits: Tensor, chosen: Sequence[Tensor], row: Tensor) -> list[Tensor | None]:
    if not logits.requires_grad:  # this sample reaches no parameter at all
        return [None] * len(chosen)
    return list(torch.autograd.grad(logits, chosen, row, retain_graph=True, allow_unused=True))


def _flat(gradient: Tensor) -> Tensor:
    return (gradient.to_dense() if gradient.is_sparse else gradient).flatten()
