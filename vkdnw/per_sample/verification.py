"""Verifies the result of a call: against plain autograd, on the model as the caller gave it.

Which layers have rules, the graph, and the two samples of the probe decide which computation is
used. Whether it is right is decided here. For some samples of each call, at least the last of the
batch and one that the batch's own numbers choose, a random combination of the cotangents is
differentiated by plain autograd, with respect to every chosen parameter; the same combination of
the rows of the call's Jacobian must agree column by column, and the logits must. Where an operation
may carry numbers between samples, those two are run alone, and all samples of the batch together
and in reverse order besides; each one's logits there must be those that it has alone. Where those
samples have zeros in a column in which others have none, the sample with the fewest zeros is
verified as well.

A result that differs by more than rounding (:mod:`vkdnw.per_sample.tolerance`) is not returned. If
plain autograd itself gives other numbers from call to call, or with other samples in the batch, the
model is refused; else the fast computation was wrong, and :mod:`vkdnw.per_sample.jacobian` takes
another.
"""

from __future__ import annotations

import copy
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from vkdnw.batch import Batch
from vkdnw.per_sample.cotangents import Cotangents, combined
from vkdnw.per_sample.plain_pass import Copy, PlainPass, plain_pass
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.per_sample.reverse_mode.chunking import Chunk
from vkdnw.per_sample.tolerance import (
    Compared,
    Precision,
    combinations,
    decided_in_double,
    differing_columns,
    differing_logits,
)
from vkdnw.runtime.garbage_collection import gc_disabled
from vkdnw.weights import Selection

Run = Callable[[tuple[int, ...], Tensor], PlainPass]

REMEDY = (
    "per-sample derivatives need a model that treats samples apart and is the same from call to "
    "call: call model.eval(), and replace batch statistics and random operations"
)


class NotAsAutograd(Exception):
    """A call's numbers differ from those of plain autograd; says where and by how much."""


@dataclass(frozen=True)
class Expected:
    """The result of plain autograd for some samples that were run together."""

    samples: tuple[int, ...]
    given: Cotangents  # [K, C]
    factors: Tensor  # [D, n, K] float64, of the given cotangents
    cotangents: Tensor  # [D, n, C] float64: factors @ given
    run: PlainPass


@dataclass
class _Sums:
    """The result of a call's chunks, for the samples of one :class:`Expected`."""

    logits: dict[int, Tensor] = field(default_factory=dict)  # by sample
    columns: Tensor | None = None
    sizes: Tensor | None = None

    def add(self, sample: int, logits: Tensor, rows: Tensor, factors: Tensor) -> None:
        """Adds one sample's rows ``[K, P]``, combined by ``factors [D, K]``."""
        rows, factors = rows.double(), factors.to(rows.device, non_blocking=True)
        columns, sizes = factors @ rows, factors.abs() @ rows.abs()
        self.logits[sample] = logits
        self.columns = columns if self.columns is None else self.columns + columns
        self.sizes = sizes if self.sizes is None else self.sizes + sizes

    def compared(self, samples: tuple[int, ...]) -> Compared:
        """All of it, in the order of the samples."""
        assert self.columns is not None
        assert self.sizes is not None
        logits = torch.stack([self.logits[sample] for sample in samples])
        return Compared(logits, self.columns, self.sizes)


@dataclass(frozen=True)
class _Fullest:
    """Of all samples of a call, the one with the most columns that are not zero."""

    sample: int
    logits: Tensor  # [C]
    rows: Tensor  # [K, P]
    columns: int

    def has_other_columns(self, sums: Iterable[_Sums]) -> bool:
        """Whether a column of its own is zero in all of the sums."""
        shown = [(one.sizes != 0).any(0) for one in sums if one.sizes is not None]
        return bool(((self.rows != 0).any(0) & ~torch.stack(shown).any(0)).any())


def _fullest(chunk: Chunk, known: _Fullest | None) -> _Fullest | None:
    """A sample of the chunk if it has more columns than the known one."""
    counts = (chunk.jacobian != 0).any(1).sum(1)
    n = int(counts.argmax())
    columns = int(counts[n])
    if columns <= (0 if known is None else known.columns):
        return known
    rows = chunk.jacobian[n].clone()
    return _Fullest(chunk.samples.start + n, chunk.logits[n], rows, columns)


class Verification:
    """The samples of a problem that are verified, and their expected derivatives."""

    def __init__(self, problem: Problem, trace: Trace) -> None:
        self._problem = problem
        self._mixing = trace.mixing
        self._classes = trace.classes
        self._fallback = frozenset(trace.fallback)
        self._precision = Precision(coarsest(trace), max(1, len(trace.records)))
        self._combinations = combinations(problem)
        self._fitting = max(1, problem.max_memory // trace.bytes_per_sample)
        self._fewest = trace.find_fewest
        self._expected: dict[int, list[Expected]] = {}  # by the number of cotangents
        self._lone = False  # whether derivatives are those of samples alone

    def verified(
        self, chunks: Iterable[Chunk], selection: Selection, expected: list[Expected]
    ) -> Iterator[Chunk]:
        """Hands chunks on, and raises at the end if one of them is wrong.

        Raises:
            NotAsAutograd: it is not.
            ValueError: nothing is, because samples mix or the model changes from call to call.
        """
        sums = [_Sums() for _ in expected]
        fullest: _Fullest | None = None
        for chunk in chunks:
            fullest = _fullest(chunk, fullest)
            for one, total in zip(expected, sums, strict=True):
                for place, sample in enumerate(one.samples):
                    if sample in chunk.samples and sample not in total.logits:
                        n = sample - chunk.samples.start
                        total.add(sample, chunk.logits[n], chunk.jacobian[n], one.factors[:, place])
            yield chunk
        for one, total in zip(expected, sums, strict=True):
            self._compare(one, total.compared(one.samples), selection)
        if expected and fullest is not None and fullest.has_other_columns(sums):
            self._compare_one_more(fullest, expected[0].given, selection)

    def _compare_one_more(self, fullest: _Fullest, given: Cotangents, selection: Selection) -> None:
        """Samples behind dead units have zeros for derivatives, which prove nothing."""
        generator = torch.Generator(device="cpu").manual_seed(len(given))
        with gc_disabled():
            one = self._expect((fullest.sample,), given, generator)
        total = _Sums()
        total.add(fullest.sample, fullest.logits, fullest.rows, one.factors[:, 0])
        self._compare(one, total.compared(one.samples), selection)

    def alone(self) -> Verification:
        """The same for a call that differentiates every sample alone.

        Derivatives are compared with those of samples alone, and with nothing else: an embedding
        that divides gradients by the frequency of its tokens has other ones in company.
        """
        other = copy.copy(self)
        other._lone, other._expected = True, {}
        return other

    def expected(self, cotangents: Cotangents) -> list[Expected]:
        """Plain passes for combinations of cotangents ``[K, C]``.

        They are made once, for all attempts and all blocks of columns.
        """
        count = len(cotangents)
        if count not in self._expected:
            generator = torch.Generator(device="cpu").manual_seed(count)
            with gc_disabled():
                self._expected[count] = [
                    self._expect(samples, cotangents, generator) for samples in self._groups()
                ]
                self._check_every_sample_alone(self._expected[count])
        return self._expected[count]

    def _groups(self) -> list[tuple[int, ...]]:
        """Samples that are run together."""
        size = self._problem.batch.size
        last = size - 1
        if last == 0:
            return [(last,)]
        chosen = _checksum(self._problem.batch) % last
        if self._mixing is None:
            lone = self._lone or self._fitting == 1
            return [(chosen,), (last,)] if lone else [(chosen, last)]
        reverse = range(size)[::-1]
        pieces = -(-size // self._fitting)
        bounds = [size * piece // pieces for piece in range(pieces + 1)]
        together = [tuple(reverse[a:b]) for a, b in itertools.pairwise(bounds)]
        return [(last,), (chosen,), *(group for group in together if len(group) > 1)]

    def _check_every_sample_alone(self, expected: list[Expected]) -> None:
        """Where samples may mix: whether each one's logits in company are those it has alone.

        Two samples alone do not tell: a sample may mix only where it lies near a threshold. These
        are forward passes only. A call that differentiates samples alone is compared with samples
        in company in any case.
        """
        if self._mixing is None or self._lone:
            return
        for one in expected:
            if len(one.samples) == 1:
                continue
            nothing = torch.zeros(1, 1, self._classes, dtype=torch.float64, device="cpu")
            run = partial(plain_pass, self._problem, forward_only=True)
            alone = torch.cat([self._run((n,), nothing, run).logits for n in one.samples])
            if differing_logits(one.run.logits, alone, self._precision).any():
                self._check_composition(one)

    def _expect(
        self, samples: tuple[int, ...], given: Cotangents, generator: torch.Generator
    ) -> Expected:
        shape = self._combinations, len(samples), len(given)
        factors = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float64)
        rows = combined(factors, given)
        return Expected(samples, given, factors, rows, self._run(samples, rows))

    def _run(
        self, samples: tuple[int, ...], cotangents: Tensor, run: Run | None = None
    ) -> PlainPass:
        """A plain pass; of one sample twice where the model takes no lone one."""
        given = samples
        if len(samples) == 1 and self._fewest() > 1:
            given = samples * 2
            cotangents = torch.cat([cotangents, torch.zeros_like(cotangents)], 1)
        if run is None:
            run = partial(plain_pass, self._problem)
        done = run(given, cotangents)
        return PlainPass(done.logits[: len(samples)], done.gradients)

    def _compare(self, one: Expected, found: Compared, selection: Selection) -> None:
        difference = self._difference(one.run, found, selection)
        if difference is None:
            return
        self._check_call_to_call(one)
        arguments = (one.samples, one.cotangents, one.run, found, self._precision)
        if decided_in_double(self._problem, selection, *arguments):
            return
        self._check_composition(one)
        raise NotAsAutograd(difference)

    def _difference(self, run: PlainPass, found: Compared, selection: Selection) -> str | None:
        """The difference, in words; None where there is none."""
        if differing_logits(found.logits, run.logits, self._precision).any():
            return f"the logits differ by {_by(found.logits, run.logits)}"
        together = len(run.logits) > 1
        if together and self._lone:
            return None
        expected = run.columns(selection)
        differs = differing_columns(found, expected, self._precision)
        if together and self._mixing is not None:
            differs &= ~self._taken_alone(selection)
        if not differs.any():
            return None
        ends = [*selection.offsets[1:], len(selection)]
        names = dict.fromkeys(
            name
            for name, start, end in zip(selection.names, selection.offsets, ends, strict=True)
            if differs[start:end].any()
        )
        share = (found.columns - expected).abs() / (found.sizes + expected.abs())
        worst = float(share[:, differs].nan_to_num(torch.inf).max())
        return f"derivatives differ by up to {worst:.2g} of their size for {', '.join(names)}"

    def _taken_alone(self, selection: Selection) -> Tensor:
        """``[P]``: the columns of parameters that are differentiated sample by sample."""
        counts = torch.tensor(selection.counts, device="cpu")
        alone = torch.tensor([name in self._fallback for name in selection.names], device="cpu")
        return alone.repeat_interleave(counts).to(self._problem.device, non_blocking=True)

    def _check_call_to_call(self, one: Expected) -> None:
        """Refuses a model that returns other numbers for the same samples later.

        Twice, since a model may come back to the same numbers every other call.
        """
        for _ in range(2):
            said = self._disagreement(self._run(one.samples, one.cotangents), one.run)
            if said is not None:
                raise ValueError(f"{said} from call to call; {REMEDY}")

    def _check_composition(self, one: Expected) -> None:
        """Refuses a model that gives other logits for a sample alone than in company.

        In float64 if the model can be converted, where no ReLU hangs on rounding; and with numbers
        in the place of zeros, behind which (in a head, say) anything may hide.
        """
        size = self._problem.batch.size
        others = [n for n in range(size) if n not in one.samples]
        company = (*others[: max(0, self._fitting - len(one.samples))], *one.samples)
        if len(company) == 1:
            return
        shape = 1, len(company), self._classes
        nothing = torch.zeros(shape, dtype=torch.float64, device="cpu")

        def compositions(run: Run) -> list[Tensor]:
            alone = torch.cat([self._run((n,), nothing[:, :1], run).logits for n in company])
            forwards = self._run(company, nothing, run).logits
            backwards = self._run(company[::-1], nothing, run).logits.flip(0)
            return [alone, forwards, backwards]

        try:
            copied = Copy(self._problem, torch.float64)
            copied.fill_zeros()
            alone, *together = compositions(copied.run)
        except Exception:  # a model may mix dtypes, and then takes no other
            alone, *together = compositions(partial(plain_pass, self._problem))
        for logits in together:
            differing = differing_logits(logits, alone, self._precision)
            if differing.any():
                n = int(torch.nonzero(differing)[0])
                raise ValueError(
                    f"samples mix: the logits of sample {company[n]} change by "
                    f"{_by(logits[n], alone[n])} with the other samples of the batch; {REMEDY}"
                )

    def _disagreement(self, run: PlainPass, other: PlainPass) -> str | None:
        """How two plain passes over the same samples differ, in words; None if they agree."""
        differing = differing_logits(run.logits, other.logits, self._precision)
        if differing.any():
            n = int(torch.nonzero(differing)[0])
            return f"the logits of one sample change by {_by(run.logits[n], other.logits[n])}"
        selection = self._problem.selection
        columns, expected = run.columns(selection), other.columns(selection)
        found = Compared(run.logits, columns, columns.abs())
        differs = differing_columns(found, expected, self._precision)
        if not differs.any():
            return None
        column = int(torch.nonzero(differs)[0])
        owner = max(i for i, start in enumerate(selection.offsets) if start <= column)
        return (
            f"the derivatives with respect to {selection.names[owner]} change by "
            f"{_by(columns[:, column], expected[:, column])}"
        )


def coarsest(trace: Trace) -> torch.dtype:
    """The dtype that rounds most, of layers, logits, and casts, detached ones among them."""
    seen = {record.output.dtype for record in trace.records.values()} | {trace.logits.dtype}
    seen |= trace.roundings
    if trace.graph is None:  # else all are of one
        seen |= {each.dtype for node in trace.users for each in node._input_metadata}
    return max((d for d in seen if d.is_floating_point), key=lambda dtype: torch.finfo(dtype).eps)


def _by(found: Tensor, expected: Tensor) -> str:
    difference = float((found.double() - expected.double()).abs().max())
    return f"{difference:.3g} (of {float(expected.abs().max()):.3g})"


def _checksum(batch: Batch) -> int:
    """A number that follows from the first sample's numbers."""
    total = 0
    for _, tensor in batch.tensors():
        first = tensor.detach()[:1] if tensor.dim() else tensor.detach()
        numbers = first.cpu().contiguous().flatten().view(torch.uint8)
        total = zlib.crc32(numbers.numpy().tobytes(), total)
    return total
