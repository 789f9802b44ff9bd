"""Many networks scored together: one launch for their tapes, one for spectra of one size.

A network of a search keeps a GPU busy for less time than its launches take. What each network needs
by itself is done one after the other; the two steps that are made of many small kernels are shared.
Scores are those of :func:`vkdnw.score`, to the bit, and so are errors: a network that cannot be
joined, or that fails, is scored alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.api import score, scored
from vkdnw.batch import BatchLike
from vkdnw.fisher_information import (
    check_jacobian,
    class_cotangents,
    eigenvalues_of,
    has_small_factor,
    probabilities,
)
from vkdnw.fisher_rank import ZeroFisherError
from vkdnw.ops.fisher import fisher_factor
from vkdnw.ops.spectrum import low_rank_spectrum
from vkdnw.options import Options
from vkdnw.per_sample.jacobian import Differentiation
from vkdnw.per_sample.joined import NotJoined, Prepared, finished, launched, prepare
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem, prepared
from vkdnw.result import Score
from vkdnw.runtime.call_lock import from_within, one_call
from vkdnw.runtime.threads import one_thread


@dataclass(frozen=True)
class _Factor:
    """A network up to its spectrum."""

    problem: Problem
    differentiation: Differentiation
    matrix: Tensor  # [M, P] float64


def score_group(
    models: Sequence[nn.Module], batch: BatchLike, **options: Any
) -> list[Score | Exception]:
    """:func:`vkdnw.score` of each model on one batch, with the same options for all.

    Memory: networks are joined as long as the feature maps that they keep fit ``max_memory``.

    Returns:
        For each model its score, or the error that :func:`vkdnw.score` raises for it.

    Raises:
        TypeError: an option that :func:`vkdnw.score` does not have.
    """
    asked = Options(**options)
    waiting = deque(range(len(models)))
    factors: dict[int, _Factor] = {}
    with one_call("vkdnw"), one_thread():
        while waiting:
            try:
                factors |= _factors(models, batch, asked, waiting)
            except ValueError:  # a model cannot be put back as it was: alone, it says so again
                continue
        spectra = _spectra(factors)
    found: dict[int, Score | Exception] = {}
    for number, spectrum in spectra.items():
        of = factors[number]
        try:
            found[number] = scored(of.problem, of.differentiation, spectrum)
        except ZeroFisherError as error:
            found[number] = error
    return [
        found[number] if number in found else _alone(model, batch, options)
        for number, model in enumerate(models)
    ]


def _alone(model: nn.Module, batch: BatchLike, options: dict[str, Any]) -> Score | Exception:
    try:
        return score(model, batch, **options)
    except Exception as error:
        return error


def _factors(
    models: Sequence[nn.Module], batch: BatchLike, options: Options, waiting: deque[int]
) -> dict[int, _Factor]:
    """The factors of as many waiting models as fit, by number; those that fail have none."""
    with ExitStack() as opened:
        members: dict[int, Prepared] = {}
        while waiting and _have_room(members):
            number = waiting.popleft()
            try:
                with from_within():
                    problem = opened.enter_context(prepared(models[number], batch, options))
                members[number] = _prepared(problem)
            except Exception:
                continue  # it is scored alone, which tells what is the matter
        try:
            gradients = dict(zip(members, launched(list(members.values())), strict=True))
        except Exception:  # of the device
            return {}
        factors: dict[int, _Factor] = {}
        for number, member in members.items():
            try:
                factors[number] = _factor(member, gradients.pop(number))
            except Exception:
                continue
        return factors


def _have_room(members: dict[int, Prepared]) -> bool:
    """Whether another network as large as the largest so far fits ``max_memory``."""
    if not members:
        return True
    sizes = [member.nbytes for member in members.values()]
    return sum(sizes) + max(sizes) <= next(iter(members.values())).problem.max_memory


def _prepared(problem: Problem) -> Prepared:
    def cotangents(trace: Trace) -> Any:
        if not has_small_factor(problem, trace):
            raise NotJoined
        return class_cotangents(trace.classes, problem.options.convention, problem.device)

    return prepare(problem, cotangents)


def _factor(member: Prepared, gradients: dict[int, Tensor]) -> _Factor:
    problem, options = member.problem, member.problem.options
    chunk = finished(member, gradients)
    check_jacobian(chunk, problem.selection)
    weights = probabilities(chunk.logits, options.smoothing, options.convention)
    matrix = fisher_factor(chunk.jacobian, weights, released=options.convention == "released")
    return _Factor(problem, member.differentiation, matrix)


def _spectra(factors: dict[int, _Factor]) -> dict[int, Tensor]:
    """All P eigenvalues of each network, ascending; one call for all factors of one shape."""
    alike: dict[torch.Size, list[int]] = {}
    for number, factor in factors.items():
        alike.setdefault(factor.matrix.shape, []).append(number)
    spectra: dict[int, Tensor] = {}
    for numbers in alike.values():
        try:
            found = low_rank_spectrum(torch.stack([factors[n].matrix for n in numbers]))
        except (ValueError, RuntimeError):
            continue  # one of them is at fault; alone, each gets its own
        for number, spectrum in zip(numbers, found, strict=True):
            spectra[number] = eigenvalues_of(spectrum, factors[number].problem)
    return spectra
