"""Cuts a batch into chunks of samples, differentiates them, and hands them on in order.

On a CPU every chunk runs on one thread, and several chunks run side by side: a feature map that
fits a core's cache is worth more than two threads on one convolution. Chunk sizes follow from the
model and the budget, never from how chunks are scheduled, so that the numbers do not either.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.per_sample.capture import PathChanged, Recorder
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.fallback import add_fallback_columns
from vkdnw.per_sample.fusion.apply import fused
from vkdnw.per_sample.fusion.find import Fusion, find_fusions
from vkdnw.per_sample.plan import Plan, make_plan
from vkdnw.per_sample.probing.trace import PASSING_MAPS, Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.batched_vjp import AT_ONCE
from vkdnw.per_sample.reverse_mode.chunk import chunk_jacobian
from vkdnw.per_sample.reverse_mode.static_pass import StaticPass, static_pass
from vkdnw.runtime.call_lock import helping
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.runtime.retry_on_oom import retry_on_oom
from vkdnw.weights import Selection

CACHE_BYTES = 2**20  # of the largest feature map of a chunk: several of them fit level 2
MIN_PIECES = 4  # of a batch, so that small networks use several cores too
CALL_BYTES = 2**18  # of a chunk's mean feature map, below which calls cost more than computing


@dataclass(frozen=True)
class Chunk:
    """Some samples' derivatives."""

    samples: range
    jacobian: Tensor  # [b, K, P]
    logits: Tensor  # [b, C]


def reverse_chunks(
    problem: Problem, trace: Trace, selection: Selection, cotangents: Cotangents
) -> Iterator[Chunk]:
    """Derivatives of ``cotangents [K, C] @ logits`` for every sample, chunk by chunk, in order.

    Raises:
        PathChanged: the model takes other paths than in the probe; go on with
            :func:`vkdnw.per_sample.probing.trace.without_rules`.
        MemoryError: not even one sample fits the budget.
    """
    fusions, plan = planned(trace, selection)
    if any(fusion.norm for fusion in fusions):
        chunks = _computed(problem, trace, plan, fusions, cotangents)
        first = _if_faithful(chunks, trace)
        if first is not None:
            yield first
            yield from chunks
            return
        chunks.close()
        fusions, plan = (), make_plan(selection, trace)
    yield from _computed(problem, trace, plan, fusions, cotangents)


def planned(trace: Trace, selection: Selection) -> tuple[tuple[Fusion, ...], Plan]:
    """The layers that are computed together, and the columns to compute."""
    fusions = find_fusions(trace)
    plan = make_plan(selection, trace, fusions)
    if fusions and (plan.dense or plan.fallback):
        # Dense rows are taken from layers as they are; so many of them leave little to gain.
        fusions, plan = (), make_plan(selection, trace)
    return fusions, plan


AGREEMENT = 1e-3  # of the largest logit: folding BatchNorm only rounds otherwise


def _if_faithful(chunks: Iterator[Chunk], trace: Trace) -> Chunk | None:
    """The first of a fused network's chunks, or None where its logits are not the probe's.

    A folded convolution returns the output of BatchNorm; a model may look at its output outside the
    graph, and go elsewhere or into numbers that are not finite. One of a static graph may not, and
    verification looks at its logits.
    """
    if trace.graph is not None:
        return next(chunks)
    try:
        first = next(chunks)
    except (PathChanged, ValueError):
        return None
    shared = min(len(first.logits), len(trace.logits))
    before, after = trace.logits[:shared], first.logits[:shared]
    agrees = (after - before).abs().max() <= AGREEMENT * before.abs().max()
    return first if agrees else None


def _computed(
    problem: Problem,
    trace: Trace,
    plan: Plan,
    fusions: tuple[Fusion, ...],
    cotangents: Cotangents,
) -> Generator[Chunk, None, None]:
    """The chunks as planned, in order, one or several at a time."""
    together = cotangents_together(problem, trace, len(cotangents))
    size, threads = chunk_size(problem, trace, plan.columns, together)
    ranges = even_ranges(problem.batch.size, size)
    if min(map(len, ranges)) == 1:
        trace.find_fewest()  # before layers are replaced
    recorder = Recorder(
        {name: layer.module for name, layer in trace.layers.items() if layer.leaves}
    )

    static = static_pass(trace, plan, fusions)

    # One pass at a time: several side by side might leave no moment in which cycles are found.
    pause = gc_disabled if threads == 1 and not plan.fallback else nullcontext

    def compute(samples: range) -> Chunk:
        with (
            helping(),
            pause(),
            torch.enable_grad(),
            torch.autocast(problem.device.type, enabled=False),
        ):
            return chunk_in_reverse(
                problem, trace, plan, recorder, samples, cotangents, together, static
            )

    with ExitStack() as stack:
        if static is None:
            stack.enter_context(recorder.attached())
            stack.enter_context(fused(trace, fusions, recorder))
        if threads == 1 or len(ranges) == 1:
            yield from retry_on_oom(ranges, compute, trace.find_fewest, problem.device)
            return
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        waiting: deque[Future[Chunk]] = deque()
        for samples in ranges:
            waiting.append(pool.submit(compute, samples))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def chunk_in_reverse(
    problem: Problem,
    trace: Trace,
    plan: Plan,
    recorder: Recorder,
    samples: range,
    cotangents: Cotangents,
    together: int = 1,
    static: StaticPass | None = None,
) -> Chunk:
    """Derivatives of ``cotangents [K, C] @ logits`` for some samples."""
    if trace.by_sample:
        size = (len(samples), len(cotangents), plan.columns)
        jacobian = torch.zeros(size, dtype=trace.dtype, device=problem.device)
        logits = add_fallback_columns(jacobian, problem, trace, plan, samples, cotangents)
        return Chunk(samples, jacobian, logits)
    fewest = trace.fewest if len(samples) == 1 else 1
    piece = problem.batch.samples(samples, trace.layout, fewest)
    jacobian, logits = chunk_jacobian(
        problem, trace, plan, recorder, piece, cotangents, together, static
    )
    jacobian, logits = jacobian[: len(samples)], logits[: len(samples)]  # less repeated ones
    if plan.fallback:
        add_fallback_columns(jacobian, problem, trace, plan, samples, cotangents)
    return Chunk(samples, jacobian, logits)


def cotangents_together(problem: Problem, trace: Trace, cotangents: int) -> int:
    """Cotangents of one backward pass: as many as suit the device, if the fewest samples fit."""
    wanted = min(AT_ONCE.get(problem.device.type, 1), cotangents)
    while wanted > 1 and not _fits(problem, trace, bytes_together(trace, wanted)):
        wanted -= 1
    return max(1, wanted)


def _fits(problem: Problem, trace: Trace, needed: int) -> bool:
    """Whether the fewest samples fit that the model takes, one or two, of so many bytes each."""
    room = problem.max_memory
    return 2 * needed <= room or trace.fewest * needed <= room


def bytes_together(trace: Trace, together: int) -> int:
    """Bytes of a sample where so many cotangents share a backward pass.

    Activations are there once; each cotangent has the gradients that are read at the end, and a
    few that pass by.
    """
    read = sum(trace.records[site].output.nbytes for site in trace.calls) // len(trace.logits)
    return trace.bytes_per_sample + (together - 1) * (read + PASSING_MAPS * trace.largest_map)


RESULTS = 6
"""Matrices of a Jacobian's size that are there at once, in its dtype: of the logits, of their
differences, their magnitudes, their factor in float64."""


def bytes_of_result(trace: Trace, columns: int) -> int:
    """Bytes of the Jacobian of one sample, and of the rows made from it."""
    return RESULTS * trace.classes * columns * trace.dtype.itemsize


def bytes_of_sample(trace: Trace, columns: int, together: int = 1) -> int:
    """All that a sample needs."""
    return bytes_together(trace, together) + bytes_of_result(trace, columns)


def chunk_size(problem: Problem, trace: Trace, columns: int, together: int = 1) -> tuple[int, int]:
    """Samples a chunk and chunks at a time, for so many columns of the Jacobian, and ``together``
    cotangents a backward pass.

    Raises:
        MemoryError: not even one sample fits ``max_memory``.
    """
    on_cpu = problem.device.type == "cpu"
    threads = problem.threads if on_cpu and trace.concurrent else 1
    needed = bytes_of_sample(trace, columns, together)
    fitting = problem.max_memory // needed
    # It is one or two: where there is room for two, the number does not matter.
    fewest = trace.fewest if fitting < 2 * threads else 1
    if fitting < fewest:
        raise MemoryError(
            f"max_memory={problem.max_memory} bytes: the model takes {fewest} samples at a "
            f"time or more, and one needs about {needed} bytes, "
            f"{bytes_of_result(trace, columns)} of them for its Jacobian [{trace.classes}, "
            f"{columns}]; raise it, choose fewer scalars with weights=, or use smaller inputs"
        )
    threads = min(threads, fitting // fewest)
    size = fitting // threads
    if on_cpu:
        quick = min(CACHE_BYTES // trace.largest_map, -(-problem.batch.size // MIN_PIECES))
        size = min(size, max(1, quick, CALL_BYTES // trace.mean_map))
    return min(size, problem.batch.size), threads


def even_ranges(total: int, size: int) -> list[range]:
    """``range(total)`` in the fewest pieces of at most ``size``, their lengths differing by one."""
    pieces = -(-total // size)
    bounds = [total * piece // pieces for piece in range(pieces + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(bounds)]
