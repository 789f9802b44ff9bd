"""The public functions: score a network, or take its Jacobian or Fisher information matrix.

All three take an unchanged model in eval mode, and restore its state.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from vkdnw import spectrum
from vkdnw.batch import BatchLike
from vkdnw.checks import Output
from vkdnw.fisher_information import eigenvalues, fisher_matrix
from vkdnw.fisher_rank import LowRankWarning, check_not_zero, low_rank
from vkdnw.options import Convention, Mode, Options
from vkdnw.per_sample.cotangents import ClassCotangents
from vkdnw.per_sample.jacobian import Differentiation, differentiated, jacobian_chunks
from vkdnw.per_sample.problem import Problem, prepared
from vkdnw.per_sample.reverse_mode.chunking import bytes_of_sample, chunk_size
from vkdnw.result import Score
from vkdnw.weights import DEFAULT, Weights, has_derivative


class FallbackWarning(UserWarning):
    """Parameters were differentiated by a slower exact method, for the reason given.

    Some, because they have no layer rule; or all, because the fast way differed from autograd.
    """


def score(
    model: nn.Module,
    batch: BatchLike,
    *,
    output: Output = None,
    weights: Weights = DEFAULT,
    smoothing: float = 0.05,
    convention: Convention = "fisher",
    dtype: torch.dtype | None = None,
    max_memory: int | str | None = None,
    tf32: bool = False,
    mode: Mode = "auto",
) -> Score:
    """Scores a classifier by VKDNW (Tybl & Neumann, CVPR 2025).

    The model is scored as it is: call ``model.eval()``, and :func:`vkdnw.initialise` if its
    weights should be drawn anew. Arguments are those of :func:`vkdnw.fisher`.

    Returns:
        A :class:`Score`; higher ``single`` or ``vkdnw`` ranks better.

    Raises:
        ValueError: the model or the batch is refused, or a number is not finite; the message names
            it and the remedy. A failure is never a score. A Fisher matrix of zeros is refused with
            :class:`vkdnw.ZeroFisherError`.
        MemoryError: one sample does not fit ``max_memory``.
    """
    options = Options(
        output=output,
        weights=weights,
        smoothing=smoothing,
        convention=convention,
        dtype=dtype,
        max_memory=max_memory,
        tf32=tf32,
        mode=mode,
    )
    with prepared(model, batch, options) as problem:
        on_device, differentiation = differentiated(problem, partial(eigenvalues, problem))
    if differentiation.fallback_reason:
        _announce_fallback(differentiation)
    return scored(problem, differentiation, on_device)


def scored(problem: Problem, differentiation: Differentiation, on_device: Tensor) -> Score:
    """The score of a model that was differentiated, from all its eigenvalues, ascending.

    Raises:
        ZeroFisherError: they are zero.
    """
    ascending = on_device.cpu()
    check_not_zero(ascending)
    quantiles = spectrum.deciles(ascending)
    size, classes = problem.batch.size, differentiation.trace.classes
    if said := low_rank(ascending, quantiles, size, classes):
        warnings.warn(said, LowRankWarning, stacklevel=3)
    return Score(
        vkdnw=spectrum.entropy(quantiles),
        layers=sum(map(has_derivative, problem.parameters.values())),
        eigenvalues=ascending,
        deciles=quantiles,
        fallback=differentiation.trace.fallback,
        unreached=differentiation.trace.unreached,
        mode=differentiation.decision.mode,
        mode_reason=differentiation.decision.reason,
        fallback_reason=differentiation.fallback_reason,
    )


def fisher(
    model: nn.Module,
    batch: BatchLike,
    *,
    output: Output = None,
    weights: Weights = DEFAULT,
    smoothing: float = 0.05,
    convention: Convention = "fisher",
    dtype: torch.dtype | None = None,
    max_memory: int | str | None = None,
    tf32: bool = False,
    mode: Mode = "auto",
) -> Tensor:
    """The Fisher information matrix of a classifier on a batch.

    Args:
        model: maps the batch to logits ``[B, C]``, each sample on its own (eval mode). It is left
            as it was found, also when an error is raised.
        batch: a tensor ``[B, ...]``, or a tuple or dict of the model's arguments.
        output: where the logits are in the model's output: a key, an attribute, a position, or
            a function. None: the model returns the logits.
        weights: which P scalar parameters; see :mod:`vkdnw.weights`.
        smoothing: ``a`` in ``p = (1 - a) softmax + a / C``.
        convention: ``"fisher"`` for ``mean_n J_n^T (diag p_n - p_n p_n^T) J_n``; ``"released"``
            for the authors' code, ``mean_n (L_n J_n)^T (L_n J_n)``, which differs.
        dtype: computes in this dtype on a converted copy; by default in the model's own.
        max_memory: the memory of a chunk of the computation, in bytes or as text (``"1GiB"``); by
            default the free memory of the device less a margin. The result does not depend on it
            beyond rounding. If a GPU still runs out of memory, the call goes on with smaller
            chunks, and a warning says so.
        tf32: lets a GPU round the factors of float32 products to 10 bits, as torch does by default
            for convolutions; the default keeps float32's precision.
        mode: ``"reverse"`` for backward passes, one for each of C - 1 cotangents; ``"forward"`` for
            tangents, one for each of P scalars, which give all classes; ``"auto"`` for the one with
            fewer passes through the network (:mod:`vkdnw.per_sample.choose_mode`), and for reverse
            where an operation of the model has no forward derivative. The result is the same up to
            rounding.

    Returns:
        ``[P, P]`` float64 on the model's device, symmetric, not multiplied by B.

    Raises:
        ValueError: the model or the batch is refused; the message names the cause and the remedy.
        MemoryError: ``[P, P]`` or one sample does not fit ``max_memory``.
    """
    options = Options(
        output=output,
        weights=weights,
        smoothing=smoothing,
        convention=convention,
        dtype=dtype,
        max_memory=max_memory,
        tf32=tf32,
        mode=mode,
    )
    with prepared(model, batch, options) as problem:
        matrix, differentiation = differentiated(problem, partial(fisher_matrix, problem))
    _announce_fallback(differentiation)
    return matrix


def jacobian(
    model: nn.Module,
    batch: BatchLike,
    *,
    output: Output = None,
    weights: Weights = DEFAULT,
    dtype: torch.dtype | None = None,
    max_memory: int | str | None = None,
    tf32: bool = False,
    mode: Mode = "auto",
) -> Tensor:
    """Derivatives of every sample's logits with respect to P scalar parameters.

    Arguments are those of :func:`vkdnw.fisher`.

    Returns:
        ``J[n, c, j] = d logit_c(sample n) / d theta_j``, ``[B, C, P]`` on the model's device;
        float64 for a float64 computation, else float32. Columns in the order of
        :func:`vkdnw.weights.select`; a parameter that the logits do not depend on has zeros.

    Raises:
        ValueError: as :func:`vkdnw.fisher`.
        MemoryError: ``[B, C, P]`` or one sample does not fit ``max_memory``.
    """
    options = Options(
        output=output, weights=weights, dtype=dtype, max_memory=max_memory, tf32=tf32, mode=mode
    )
    with prepared(model, batch, options) as problem:
        full, differentiation = differentiated(problem, partial(_collected, problem))
    _announce_fallback(differentiation)
    return full


def _collected(problem: Problem, differentiation: Differentiation) -> Tensor:
    """The Jacobians of all chunks, each written to its place when it is computed."""
    trace = differentiation.trace
    shape = (problem.batch.size, trace.classes, len(problem.selection))
    chunk_size(
        problem, trace, len(problem.selection)
    )  # whether one sample fits is the first question
    needed = math.prod(shape) * trace.dtype.itemsize
    if needed > problem.max_memory:
        raise MemoryError(
            f"the Jacobian {list(shape)} needs {needed} bytes, max_memory={problem.max_memory}; "
            "raise it, or choose fewer scalars with weights= (vkdnw.score and vkdnw.fisher never "
            "hold it)"
        )
    every_class = ClassCotangents("every", trace.classes, problem.device)
    full = torch.empty(shape, dtype=trace.dtype, device=problem.device)
    left = max(problem.max_memory - needed, 2 * bytes_of_sample(trace, shape[2]))
    problem = replace(problem, max_memory=min(left, problem.max_memory))
    for chunk in jacobian_chunks(problem, differentiation, problem.selection, every_class):
        full[chunk.samples.start : chunk.samples.stop] = chunk.jacobian
    return full


def _announce_fallback(differentiation: Differentiation) -> None:
    """Warns once a call of parameters that were differentiated by a slower method, and why."""
    fallback = differentiation.trace.fallback
    reason = differentiation.fallback_reason
    if reason and not fallback:
        said = f"layers were computed one by one by torch alone (exact, slower), because {reason}"
    elif reason:
        said = (
            f"{len(fallback)} parameters were differentiated sample by sample (exact, slower), "
            f"because {reason}: {', '.join(fallback)}"
        )
    elif fallback and differentiation.decision.mode == "reverse":
        said = (
            f"{len(fallback)} parameters have no layer rule here and were differentiated "
            f"sample by sample (exact, slower): {', '.join(fallback)}"
        )
    else:
        return
    warnings.warn(said, FallbackWarning, stacklevel=3)
