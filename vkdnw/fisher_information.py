"""The Fisher information matrix of a classifier, and its spectrum.

For sample n with logits' Jacobian J_n ``[C, P]`` and smoothed class probabilities p_n,

    F = mean_n J_n^T (diag p_n - p_n p_n^T) J_n = mean_n A_n^T A_n,   A_n = L_n^T J_n,

where ``L_n L_n^T = diag p_n - p_n p_n^T`` (Tybl & Neumann, CVPR 2025, section 3). The covariance
has rank C - 1 and sees only differences between classes, so C - 1 backward passes suffice:
those of ``logit_c - logit_C``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vkdnw.ops.fisher import fisher_accumulate_, fisher_factor
from vkdnw.ops.spectrum import low_rank_spectrum
from vkdnw.options import Convention
from vkdnw.per_sample.cotangents import ClassCotangents
from vkdnw.per_sample.jacobian import Differentiation, jacobian_chunks
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunking import Chunk
from vkdnw.runtime.threads import several_threads
from vkdnw.weights import Selection

# Beyond these sizes a Gram matrix costs less than the singular values of the factor.
DIRECT_COLUMNS = 4096
DIRECT_RANK = 1024


def probabilities(logits: Tensor, smoothing: float, convention: Convention) -> Tensor:
    """Smoothed class probabilities ``(1 - a) softmax + a / C``, float64 ``[B, C]``.

    At initialisation the softmax is nearly one-hot and its covariance nearly zero; without
    smoothing the spectrum carries no signal. The authors' code holds ``1 - a`` and ``a / C`` in
    half precision, so that their probabilities sum to 1.00017 for a = 0.05 and ten classes:
    ``released`` does the same.
    """
    softmax = torch.softmax(logits.double(), dim=1)
    classes = logits.shape[1]
    kept, spread = 1.0 - smoothing, smoothing / classes
    if convention == "released":
        half = torch.tensor(smoothing, dtype=torch.float16, device="cpu")
        kept, spread = float(1.0 - half), float(half / classes)
    return kept * softmax + spread


def class_cotangents(classes: int, convention: Convention, device: torch.device) -> ClassCotangents:
    """The ``C - 1`` combinations of logits that the Fisher matrix depends on, ``[C - 1, C]``.

    Differences to the last class for ``fisher``; the first C - 1 logits for ``released``, whose
    L J leaves the last one out.
    """
    return ClassCotangents("differences" if convention == "fisher" else "leading", classes, device)


def fisher_matrix(problem: Problem, differentiation: Differentiation) -> Tensor:
    """The Fisher matrix ``[P, P]``, float64, accumulated chunk by chunk.

    Raises:
        MemoryError: it does not fit ``max_memory``.
        ValueError: a derivative is not finite.
    """
    columns = len(problem.selection)
    if columns * columns * 8 > problem.max_memory:
        raise MemoryError(
            f"the Fisher matrix of {columns} scalars needs {columns * columns * 8} bytes, "
            f"max_memory={problem.max_memory}; raise it or choose fewer scalars with weights= "
            "(vkdnw.score needs no matrix where scalars outnumber samples times classes)"
        )
    matrix = torch.zeros(columns, columns, dtype=torch.float64, device=problem.device)
    released = problem.options.convention == "released"
    scale = 1.0 / problem.batch.size
    for chunk, weights in _checked_chunks(problem, differentiation, problem.selection):
        fisher_accumulate_(matrix, chunk.jacobian, weights, released=released, scale=scale)
    return matrix


def eigenvalues(problem: Problem, differentiation: Differentiation) -> Tensor:
    """All P eigenvalues of the Fisher matrix, ascending, float64.

    With ``M = B (C - 1)`` rows (``B C`` for ``released``) in the stacked factor ``A``, there are at
    most min(M, P) nonzero ones. Where ``A [M, P]`` is small they are its squared singular values,
    each accurate to rounding of the largest singular value. Else they are the eigenvalues of the
    smaller Gram matrix: the Fisher matrix ``[P, P]``, or its dual ``A A^T [M, M]``, which is summed
    over blocks of columns so that ``B C P`` numbers are never in memory at once. Each is then
    accurate to rounding of the largest eigenvalue.
    """
    rows, columns = factor_shape(problem, differentiation.trace)
    if has_small_factor(problem, differentiation.trace):
        factor = _factor(problem, differentiation, problem.selection)
        return eigenvalues_of(low_rank_spectrum(factor), problem)
    if columns <= rows:
        nonzero = _gram_spectrum(problem, fisher_matrix(problem, differentiation))
    else:
        gram = _dual_gram(problem, differentiation, rows)
        nonzero = _gram_spectrum(problem, gram) / problem.batch.size
    return _with_zeros(nonzero, columns)


def factor_shape(problem: Problem, trace: Trace) -> tuple[int, int]:
    """Rows M and columns P of the stacked factor."""
    of_sample = trace.classes - (problem.options.convention == "fisher")
    return problem.batch.size * of_sample, len(problem.selection)


def has_small_factor(problem: Problem, trace: Trace) -> bool:
    """Whether eigenvalues are the squared singular values of the factor."""
    rows, columns = factor_shape(problem, trace)
    small = columns <= DIRECT_COLUMNS and min(rows, columns) <= DIRECT_RANK
    return small and rows * columns * 8 <= problem.max_memory // 4


def eigenvalues_of(spectrum: Tensor, problem: Problem) -> Tensor:
    """All P eigenvalues, from those of ``A^T A`` that can differ from zero."""
    return _with_zeros(spectrum / problem.batch.size, len(problem.selection))


def _with_zeros(nonzero: Tensor, columns: int) -> Tensor:
    zeros = torch.zeros(columns - len(nonzero), dtype=torch.float64, device=nonzero.device)
    return torch.cat([zeros, nonzero])


def _gram_spectrum(problem: Problem, gram: Tensor) -> Tensor:
    """Eigenvalues of a Gram matrix; those that rounding made negative are zero."""
    with several_threads(problem.threads):
        ascending: Tensor = torch.linalg.eigvalsh(gram)
    return ascending.clamp_(min=0.0)


def _factor(problem: Problem, differentiation: Differentiation, selection: Selection) -> Tensor:
    """The stacked ``A_n``: ``[M, len(selection)]`` float64."""
    released = problem.options.convention == "released"
    chunks = _checked_chunks(problem, differentiation, selection)
    return torch.cat(
        [fisher_factor(chunk.jacobian, weights, released=released) for chunk, weights in chunks]
    )


def _checked_chunks(
    problem: Problem, differentiation: Differentiation, selection: Selection
) -> Iterator[tuple[Chunk, Tensor]]:
    """The finite derivatives of the cotangents and the class probabilities, chunk by chunk."""
    convention = problem.options.convention
    cotangents = class_cotangents(differentiation.trace.classes, convention, problem.device)
    for chunk in jacobian_chunks(problem, differentiation, selection, cotangents):
        check_jacobian(chunk, selection)
        yield chunk, probabilities(chunk.logits, problem.options.smoothing, convention)


def _dual_gram(problem: Problem, differentiation: Differentiation, rows: int) -> Tensor:
    """``A A^T [M, M]`` from blocks of columns of at most a quarter of ``max_memory``.

    Raises:
        MemoryError: the Gram matrix and one column do not fit.
    """
    room = problem.max_memory // 4 - 8 * rows * rows
    block = room // (rows * 16)  # a block's Jacobian and its float64 factor
    if block < 1:
        raise MemoryError(
            f"max_memory={problem.max_memory} bytes: the dual Gram matrix [{rows}, {rows}] takes "
            f"{8 * rows * rows} and may take a quarter; raise it, or score fewer samples"
        )
    gram = torch.zeros(rows, rows, dtype=torch.float64, device=problem.device)
    for selection in problem.selection.blocks(block):
        factor = _factor(problem, differentiation, selection)
        with several_threads(problem.threads):
            gram.addmm_(factor, factor.T)
    return gram


def check_jacobian(chunk: Chunk, selection: Selection) -> None:
    """Refuses a Jacobian that is not finite, naming the parameter.

    Raises:
        ValueError: the gradient overflowed; no score is made of it.
    """
    finite = torch.isfinite(chunk.jacobian).all(dim=0).all(dim=0)  # [P]
    if not finite.all():
        column = int(torch.nonzero(~finite)[0])
        starts = selection.offsets
        owner = max(i for i, start in enumerate(starts) if start <= column)
        raise ValueError(
            f"the Jacobian with respect to {selection.names[owner]} is not finite (samples "
            f"{chunk.samples.start}..{chunk.samples.stop - 1}): gradients overflow; try dtype="
            "torch.float64 or another initialisation"
        )
