"""By how much two computations of the same derivatives may differ, and how that is decided.

Rounding grows with the number of layers that numbers pass, so the first bound is a multiple of the
dtype's precision and of that number, relative to the size of each column. It is wide enough for
rounding that is passed on smoothly. It does not cover a ReLU whose input is so close to zero that
two computations disagree on its sign: a convolutional network in float32 has some 10^5 of them a
sample, inputs are off by about 10^-6 of their size, and so one in ten samples has such a ReLU. It
changes most columns by less than a thousandth, and rarely one by more than the bound.

A difference beyond the bound is decided in float64. A copy of the model in float64 gives the true
derivatives; the same copy with weights moved by a few roundings, several times, says how much
of them hangs on rounding (ReLUs flip there as well); and copies in the model's own dtype with the
same weights say how well plain autograd does. A difference that this explains is no error.

In half precision (bfloat16, float16) rounding changes derivatives by a tenth to all of their size
in a deep network, however they are computed, and plain autograd's are no truth. There a column is
compared as a vector, its derivatives of several combinations of the logits, for the size of an
error is seen in several numbers and not in one. Beyond the first bound it may be as far from plain
autograd's as twice that one is from the derivative in float64, but by less than 4/5 of its size: a
column of zeros, or of twice the size, is as far away as its size, and that of another sample
further. So a wrong column is found wherever half precision determines it to within 2/5.

A copy lacks parts that ``copy.deepcopy`` does not copy, such as hooks on parameters. So it decides
nothing unless it agrees with the model itself, and it explains no difference that is a large
share of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.per_sample.plain_pass import Copy, PlainPass
from vkdnw.per_sample.problem import Problem
from vkdnw.weights import Selection

ROUNDINGS = 256  # of a column, for each layer that numbers pass
LOGIT_ROUNDINGS = 32  # of a sample's largest logit, for each layer
_WIDEST = {torch.float64: 1e-8, torch.float32: 2e-2}  # the bound of columns, at most
_WIDEST_HALF = 5e-2
_NOISE = 16  # roundings of the largest column: columns that cancel to zero hold that much

COMBINATIONS = 8  # of the cotangents, in half precision
_OWN_ERRORS = 2  # a difference in half precision may be so many times plain autograd's error,
_MOST_OF_HALF = 0.8  # and this share of a column

DRAWS = 4  # of weights that are moved
_MOVES = 64  # roundings by which weights are moved, at most
_TIMES = 8  # a difference may be so many times that of rounding in the draws
_MOST = 0.25  # of a column's size that rounding explains


@dataclass(frozen=True)
class Compared:
    """The result of a call for some samples, and its size."""

    logits: Tensor  # [n, C]
    columns: Tensor  # [D, P] float64, the derivatives of combinations of the logits
    sizes: Tensor  # [D, P] float64, sums of the magnitudes that were combined


@dataclass(frozen=True)
class Precision:
    """How a model computes: the coarsest dtype of its layers, and how many of them there are."""

    dtype: torch.dtype
    layers: int

    @property
    def column_bound(self) -> float:
        """The first bound, relative to a column's size."""
        if self.dtype == torch.float64:
            return _WIDEST[self.dtype]
        return min(ROUNDINGS * self._rounding, _WIDEST.get(self.dtype, _WIDEST_HALF))

    @property
    def logit_bound(self) -> float:
        """The first bound of logits, relative to the largest of a sample."""
        if self.dtype == torch.float64:
            return 1e-9
        return min(LOGIT_ROUNDINGS * self._rounding, _WIDEST_HALF)

    @property
    def noise(self) -> float:
        """The size of a column that cancels to zero, relative to the largest column."""
        if self.dtype == torch.float64:
            return 1e-11
        return min(_NOISE * torch.finfo(self.dtype).eps, 1e-3)

    @property
    def _rounding(self) -> float:
        return torch.finfo(self.dtype).eps * max(self.layers, 8)


def combinations(problem: Problem) -> int:
    """By how many combinations of the cotangents derivatives are compared.

    Their gradients are held at once: fewer where they would take more than 1/8 of ``max_memory``.
    """
    chosen = [problem.parameters[name] for name in problem.selection.names]
    if all(parameter.itemsize > 2 for parameter in chosen):
        return 1
    room = problem.max_memory // (8 * sum(parameter.nbytes for parameter in chosen))
    return max(2, min(COMBINATIONS, room))


def differing_logits(found: Tensor, expected: Tensor, precision: Precision) -> Tensor:
    """``[n]``: for each sample whether its logits differ by more than rounding."""
    found, expected = found.double(), expected.double()
    allowed = precision.logit_bound * expected.abs().amax(1, keepdim=True)
    return ~((found - expected).abs() <= allowed).all(1)


def differing_columns(
    found: Compared, expected: Tensor, precision: Precision, slack: Tensor | None = None
) -> Tensor:
    """``[P]``: for each column whether it differs by more than rounding; NaN differs from none."""
    sizes = found.sizes + expected.abs()
    finite = torch.isfinite(sizes)
    largest = float(sizes[finite].max()) if finite.any() else 0.0
    allowed = precision.column_bound * sizes + precision.noise * largest
    if slack is not None:
        allowed = allowed + slack
    unknown = ~torch.isfinite(expected) & ~torch.isfinite(found.columns)
    return (~((found.columns - expected).abs() <= allowed) & ~unknown).any(0)


def decided_in_double(
    problem: Problem,
    selection: Selection,
    samples: Sequence[int],
    cotangents: Tensor,
    plain: PlainPass,
    found: Compared,
    precision: Precision,
) -> bool:
    """Whether a difference beyond the first bounds is rounding after all.

    Args:
        samples: which were run together.
        cotangents: ``[D, n, C]`` of the combinations.
        plain: those of the model itself.

    Returns:
        False as well where the model cannot be copied, converted or run again.
    """
    dtype = next(iter(problem.parameters.values())).dtype
    try:
        double, single = Copy(problem, torch.float64), Copy(problem, dtype)
        exact, same = double.run(samples, cotangents), single.run(samples, cotangents)
        if not _agree(same, plain, selection, precision):
            return False
        if len(cotangents) > 1:
            return _as_near_as_plain(plain, found, exact, selection, precision)
        moved, own = _draws(problem, double, single, samples, cotangents)
    except Exception:
        return False
    truth = exact.columns(selection)
    columns = [run.columns(selection) for run in moved]
    rounded = [run.columns(selection) for run in own]
    spread = _largest([(one - truth).abs() for one in columns])
    errors = _largest([(a - b).abs() for a, b in zip(rounded, columns, strict=True)])
    slack = (_TIMES * (spread + errors)).minimum(_MOST * (found.sizes + truth.abs()))
    if differing_columns(found, truth, precision, slack).any():
        return False
    spread = _largest([(run.logits - exact.logits).abs() for run in moved])
    errors = _largest([(a.logits - b.logits).abs() for a, b in zip(own, moved, strict=True)])
    allowed = _TIMES * (spread + errors)
    ours = found.logits.double()
    bound = precision.logit_bound * exact.logits.abs().amax(1, keepdim=True)
    return bool(((ours - exact.logits).abs() <= bound + allowed).all())


def _agree(one: PlainPass, other: PlainPass, selection: Selection, precision: Precision) -> bool:
    """Whether two plain passes tell the same, up to the first bounds."""
    columns, expected = one.columns(selection), other.columns(selection)
    found = Compared(one.logits, columns, columns.abs())
    if differing_columns(found, expected, precision).any():
        return False
    return not differing_logits(one.logits, other.logits, precision).any()


def _as_near_as_plain(
    plain: PlainPass, found: Compared, exact: PlainPass, selection: Selection, precision: Precision
) -> bool:
    """Whether a result in half precision is as near plain autograd's as that is to float64's."""
    expected, truth = plain.columns(selection), exact.columns(selection)
    bound = precision.column_bound * (found.sizes + expected.abs())
    columns = _near(found.columns.T, expected.T, truth.T, bound.T, precision.noise)
    bound = precision.logit_bound * plain.logits.double().abs()
    logits = _near(found.logits, plain.logits, exact.logits, bound, precision.noise)
    return columns and logits


def _near(found: Tensor, plain: Tensor, exact: Tensor, bound: Tensor, noise: float) -> bool:
    """Whether each row, as a vector, is as near the plain one as that is to the exact one."""
    found, plain = found.double(), plain.double()
    size = plain.norm(dim=1)
    own = _OWN_ERRORS * (plain - exact).norm(dim=1)
    allowed = own.maximum(bound.norm(dim=1)).minimum(_MOST_OF_HALF * size) + noise * size.max()
    return bool(((found - plain).norm(dim=1) <= allowed).all())


def _draws(
    problem: Problem, double: Copy, single: Copy, samples: Sequence[int], cotangents: Tensor
) -> tuple[list[PlainPass], list[PlainPass]]:
    """Passes of both copies with moved weights."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    moved: list[PlainPass] = []
    own: list[PlainPass] = []
    for _ in range(DRAWS):
        weights = {
            name: _moved(parameter.detach(), generator)
            for name, parameter in problem.parameters.items()
            if parameter.is_floating_point()
        }
        for copied, runs in ((double, moved), (single, own)):
            copied.set_weights(weights)
            runs.append(copied.run(samples, cotangents))
    return moved, own


def _moved(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """The parameter, each number changed by up to some roundings."""
    factor = torch.rand(
        parameter.shape, generator=generator, device="cpu", dtype=torch.float64
    ).sub_(0.5)
    factor = factor.to(parameter.device).mul_(2 * _MOVES * torch.finfo(parameter.dtype).eps)
    return (parameter.double() * (1 + factor)).to(parameter.dtype)


def _largest(differences: list[Tensor]) -> Tensor:
    return torch.stack(differences).amax(0)
