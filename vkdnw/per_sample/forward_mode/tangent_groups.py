"""Cuts the chosen scalars into groups whose tangents go through the network together.

A group shares one forward pass of the network, and its tangents begin where the first of its
scalars is used; so scalars that are used close together go together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vkdnw.per_sample.choose_mode import places
from vkdnw.per_sample.forward_mode.tangents import Moved
from vkdnw.per_sample.probing.trace import Trace
from vkdnw.per_sample.problem import Problem
from vkdnw.weights import Selection

LANES = 16  # tangents of a group: more would save little of the forward pass and exceed the cache


@dataclass(frozen=True)
class MovedParameter:
    """Chosen scalars of a parameter that no layer is called with, which is moved itself."""

    name: str
    indices: Tensor  # [q] flat
    slots: Tensor  # [q]


@dataclass(frozen=True)
class Group:
    """Scalars that go together; slot ``i`` of their vector of coefficients is ``columns[i]``."""

    columns: Tensor  # [q], of the Jacobian
    moved: tuple[Moved, ...]
    parameters: tuple[MovedParameter, ...]


@dataclass(frozen=True)
class _Scalar:
    place: int
    name: str
    index: int
    column: int


def groups(problem: Problem, trace: Trace, selection: Selection, group_size: int) -> list[Group]:
    """All scalars that logits depend on, in the order of their first use."""
    parameters = problem.parameters
    room = problem.max_memory // 4
    scalars = sorted(_scalars(trace, selection), key=lambda scalar: scalar.place)
    cut: list[list[_Scalar]] = []
    copies = 0  # bytes of the parameters that are copied whole for a tangent
    for scalar in scalars:
        new = not cut or scalar.name not in {other.name for other in cut[-1]}
        whole = parameters[scalar.name].nbytes if new and not _called(trace, scalar.name) else 0
        fits = bool(cut) and len(cut[-1]) < group_size
        if not fits or (copies and (copies + whole) * (len(cut[-1]) + 1) > room):
            cut.append([])
            copies = 0
            whole = parameters[scalar.name].nbytes if not _called(trace, scalar.name) else 0
        cut[-1].append(scalar)
        copies += whole
    return [_group(trace, members) for members in cut]


def _scalars(trace: Trace, selection: Selection) -> list[_Scalar]:
    by_parameter = zip(
        selection.names,
        selection.indices,
        selection.offsets,
        places(selection, trace),
        strict=True,
    )
    return [
        _Scalar(place, name, index, offset + position)
        for name, indices, offset, place in by_parameter
        if name not in trace.unreached
        for position, index in enumerate(indices.tolist())
    ]


def _called(trace: Trace, name: str) -> bool:
    """Whether a parameter is moved by changing the outputs of layers, and not itself."""
    return name in trace.terms and trace.called(name)


def _group(trace: Trace, members: list[_Scalar]) -> Group:
    moved, parameters = [], []
    for name in dict.fromkeys(scalar.name for scalar in members):
        slots = torch.tensor(
            [i for i, scalar in enumerate(members) if scalar.name == name], device="cpu"
        )
        indices = torch.tensor(
            [scalar.index for scalar in members if scalar.name == name], device="cpu"
        )
        if not _called(trace, name):
            parameters.append(MovedParameter(name, indices, slots))
            continue
        moved += [Moved(site, leaf, indices, slots) for site, leaf in trace.terms[name]]
    columns = torch.tensor([scalar.column for scalar in members], device="cpu")
    return Group(columns, tuple(moved), tuple(parameters))
