"""Cuts a batch into chunks of samples and differentiates them in forward mode.

Chunks go one at a time on one thread: levels of forward differentiation are global to a process.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vkdnw.per_sample.choose_mode import ForwardRefused
from vkdnw.per_sample.cotangents import Cotangents, applied
from vkdnw.per_sample.forward_mode.chunk import logit_derivatives
from vkdnw.per_sample.forward_mode.tangent_groups import LANES
from vkdnw.per_sample.fusion.find import Fusion, find_folds
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunking import (
    Chunk,
    bytes_of_sample,
    chunk_size,
    even_ranges,
)
from vkdnw.runtime.retry_on_oom import retry_on_oom
from vkdnw.weights import Selection

LIVE_MAPS = 6  # of the largest size that a tangent has in memory at once, its beginning included


def forward_chunks(
    problem: Problem, trace: Trace, selection: Selection, cotangents: Cotangents
) -> Iterator[Chunk]:
    """Derivatives of ``cotangents [K, C] @ logits`` for every sample, chunk by chunk, in order.

    Raises:
        ForwardRefused: the model has no forward derivative.
        MemoryError: not even one sample fits the budget.
    """
    size, group_size = sizes(problem, trace, len(selection))
    folds = find_folds(trace)

    def one(samples: range, folds: tuple[Fusion, ...]) -> Chunk:
        return _chunk(problem, trace, selection, samples, cotangents, folds, group_size)

    def compute(samples: range) -> Chunk:
        nonlocal folds
        with torch.autocast(problem.device.type, enabled=False):
            try:
                return one(samples, folds)
            except ForwardRefused:
                if not folds:
                    raise
                folds = ()  # a model may read the output of a folded convolution
                return one(samples, folds)

    yield from retry_on_oom(
        even_ranges(problem.batch.size, size), compute, trace.find_fewest, problem.device
    )


def sizes(problem: Problem, trace: Trace, columns: int) -> tuple[int, int]:
    """Samples of a chunk, and tangents that go together, so that both fit the budget.

    Raises:
        MemoryError: not even one sample fits it.
    """
    size, _ = chunk_size(problem, trace, columns)
    needed = bytes_of_sample(trace, columns)
    tangent_bytes = min(trace.bytes_per_sample, LIVE_MAPS * _widest(trace))
    wanted = min(LANES, columns)
    fitting = problem.max_memory // (needed + (wanted + 1) * tangent_bytes)
    size = max(trace.fewest, min(size, fitting))
    group_size = (problem.max_memory // size - needed) // tangent_bytes - 1  # less the values
    return size, max(1, min(wanted, group_size))


def _widest(trace: Trace) -> int:
    """Bytes of one sample's largest layer input or output."""
    sizes = (max(record.input.nbytes, record.output.nbytes) for record in trace.records.values())
    return max(sizes, default=1) // len(trace.logits) + 1


def _chunk(
    problem: Problem,
    trace: Trace,
    selection: Selection,
    samples: range,
    cotangents: Cotangents,
    folds: tuple[Fusion, ...],
    group_size: int,
) -> Chunk:
    piece = problem.batch.samples(samples, trace.layout, trace.fewest)
    derivatives, logits = logit_derivatives(problem, trace, selection, folds, piece, group_size)
    derivatives, logits = derivatives[: len(samples)], logits[: len(samples)]  # less repeated ones
    return Chunk(samples, applied(cotangents, derivatives), logits)
