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

DRAWS = 4  # of weights that are moved
_MOVES = 64  # roundings by which weights are moved, at most
_TIMES = 8  # a difference may be so many times that of rounding in the draws
_MOST = 0.25  # of a column's size that rounding explains


@dataclass(frozen=True)
class Compared:
    """The result of a call for some samples, and its size."""

    logits: Tensor  # [n, C]
    columns: Tensor  # [P] float64, the derivatives of a combination of the logits
    sizes: Tensor  # [P] float64, sums of the magnitudes that were combined


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
    return ~((found.columns - expected).abs() <= allowed) & ~unknown


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
        cotangents: ``[n, C]`` of the combination.
        plain: those of the model itself.

    Returns:
        False as well where the model cannot be copied, converted or run again.
    """
    try:
        exact, same, moved, own = _draws(problem, samples, cotangents)
    except Exception:
        return False
    names, indices = selection.names, selection.indices
    if not _agree(same, plain, selection, precision):
        return False
    truth = exact.columns(names, indices)
    columns = [run.columns(names, indices) for run in moved]
    rounded = [run.columns(names, indices) for run in own]
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
    columns = one.columns(selection.names, selection.indices)
    expected = other.columns(selection.names, selection.indices)
    found = Compared(one.logits, columns, columns.abs())
    if differing_columns(found, expected, precision).any():
        return False
    return not differing_logits(one.logits, other.logits, precision).any()


def _draws(
    problem: Problem, samples: Sequence[int], cotangents: Tensor
) -> tuple[PlainPass, PlainPass, list[PlainPass], list[PlainPass]]:
    """The pass in float64, and in the model's own dtype; then both with moved weights."""
    dtype = next(iter(problem.parameters.values())).dtype
    double, single = Copy(problem, torch.float64), Copy(problem, dtype)
    exact, same = double.run(samples, cotangents), single.run(samples, cotangents)
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
    return exact, same, moved, own


def _moved(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """The parameter, each number changed by up to some roundings."""
    factor = torch.rand(
        parameter.shape, generator=generator, device="cpu", dtype=torch.float64
    ).sub_(0.5)
    factor = factor.to(parameter.device).mul_(2 * _MOVES * torch.finfo(parameter.dtype).eps)
    return (parameter.double() * (1 + factor)).to(parameter.dtype)


def _largest(differences: list[Tensor]) -> Tensor:
    return torch.stack(differences).amax(0)
