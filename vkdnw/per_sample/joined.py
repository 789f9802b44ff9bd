"""Several networks whose backward passes are one run of a tape.

What one network does by itself is in three steps here: prepared, up to its tape; then the tapes of
all in one launch; then finished, its columns and their verification. The numbers are those of
:func:`vkdnw.per_sample.jacobian.differentiated`, to the bit. A network for which that way does not
exist, or that fails on it, is not joined: it takes its own way, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.backward.tape_gradients import gradients_of_all
from vkdnw.checks import check_logits
from vkdnw.per_sample.capture import Recorder
from vkdnw.per_sample.choose_mode import decide
from vkdnw.per_sample.cotangents import Cotangents
from vkdnw.per_sample.jacobian import Differentiation
from vkdnw.per_sample.probing.trace import Trace, trace_model
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunk import Begun, Pulled, add_columns, begin, pulled
from vkdnw.per_sample.reverse_mode.chunking import (
    Chunk,
    chunk_size,
    cotangents_together,
    planned,
)
from vkdnw.per_sample.reverse_mode.static_pass import static_pass
from vkdnw.per_sample.verification import Expected, Verification


class NotJoined(Exception):
    """A network has no tape that takes all its samples and cotangents in one run."""


@dataclass(frozen=True)
class Prepared:
    """A network up to the run of its tape."""

    problem: Problem
    differentiation: Differentiation
    expected: list[Expected]
    begun: Begun
    pulled: Pulled

    @property
    def nbytes(self) -> int:
        """Bytes of feature maps, masks and cotangents, and of the results of tape and columns."""
        begun, taped = self.begun, self.begun.sources.taped
        assert taped is not None
        maps = [m for record in begun.records.values() for m in (record.input, record.output)]
        kept = {id(each): each.nbytes for each in (*maps, *taped.tape.masks, *self.pulled.to_tape)}
        rows = len(begun.logits) * self.pulled.count
        columns = begun.plan.columns * begun.trace.dtype.itemsize
        return sum(kept.values()) + rows * (taped.numbers * 4 + columns)


def prepare(problem: Problem, cotangents_of: Callable[[Trace], Cotangents]) -> Prepared:
    """Everything before the tape.

    Raises:
        NotJoined: there is no such tape.
        Exception: what the network raises on its own way, too, or not.
    """
    trace = trace_model(problem)
    decision = decide(problem, trace)
    size = problem.batch.size
    if trace.graph is None or decision.mode == "forward" or size == 1:
        raise NotJoined
    differentiation = Differentiation(trace, decision, Verification(problem, trace))
    cotangents = cotangents_of(trace)
    expected = differentiation.verification.expected(cotangents)
    fusions, plan = planned(trace, problem.selection)
    together = cotangents_together(problem, trace, len(cotangents))
    static = static_pass(trace, plan, fusions)
    if static is None or chunk_size(problem, trace, plan.columns, together)[0] < size:
        raise NotJoined
    passed = static.run(problem.batch.samples(range(size), trace.layout, 1).args[0])
    check_logits(passed.logits, size)
    begun = begin(trace, plan, passed, cotangents, together)
    if begun.together < len(cotangents):
        raise NotJoined
    (some,) = pulled(begun, Recorder({}), cotangents, keep_graph=problem.keeps_graphs)
    return Prepared(problem, differentiation, expected, begun, some)


def launched(all_prepared: Sequence[Prepared]) -> list[dict[int, Tensor]]:
    """The tapes of networks of one batch, in one run: for each its entries' gradients."""
    runs = []
    for each in all_prepared:
        assert each.begun.sources.taped is not None
        runs.append((each.begun.sources.taped, each.pulled.to_tape))
    return gradients_of_all(runs)


def finished(prepared: Prepared, taped: dict[int, Tensor]) -> Chunk:
    """The network's derivatives, verified.

    Raises:
        NotAsAutograd, ValueError: they are wrong on this way.
    """
    problem, begun = prepared.problem, prepared.begun
    size, count, columns = problem.batch.size, prepared.pulled.count, begun.plan.columns
    jacobian = torch.zeros(size, count, columns, dtype=begun.trace.dtype, device=problem.device)
    add_columns(jacobian, begun, prepared.pulled, taped)
    chunk = Chunk(range(size), jacobian, begun.logits.detach())
    verification = prepared.differentiation.verification
    (verified,) = verification.verified([chunk], problem.selection, prepared.expected)
    return verified
