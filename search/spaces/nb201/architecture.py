"""Architecture strings of NAS-Bench-201.

A cell is a directed acyclic graph of four nodes. Node 0 is the cell's input, node 3 its output, and
every node is the sum of its incoming edges. The string names the operation of each edge, grouped by
target node: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` (Dong and Yang 2020, "NAS-Bench-201").
"""

from collections.abc import Sequence
from typing import NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError

NODES = 4

NONE = "none"
SKIP = "skip_connect"
CONV_1X1 = "nor_conv_1x1"
CONV_3X3 = "nor_conv_3x3"
POOL = "avg_pool_3x3"

OPERATIONS = (NONE, SKIP, CONV_1X1, CONV_3X3, POOL)
"""The operations, in the benchmark's order."""

CONVOLUTIONS = {CONV_1X1: 1, CONV_3X3: 3}
"""The operations with parameters, and the side of their kernel."""


class Edge(NamedTuple):
    """An edge of the cell, from node ``source`` to node ``target``."""

    target: int
    source: int

    def __str__(self) -> str:
        return f"{self.target}<-{self.source}"


EDGES = tuple(Edge(target, source) for target in range(1, NODES) for source in range(target))
"""The six edges in the order of the string: 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""

_FORM = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"


def parse(arch: str) -> tuple[str, ...]:
    """The six operations of ``arch``, in the order of `EDGES`.

    Raises `ArchitectureError` that names the edge and the position (in characters, from 0) of the
    first thing that is wrong.
    """
    if not isinstance(arch, str):
        raise ArchitectureError(
            f"an architecture is a string {_FORM!r}, not {type(arch).__name__}: {arch!r}"
        )
    groups = arch.split("+")
    if len(groups) != NODES - 1:
        raise ArchitectureError(
            f"{arch!r} has {len(groups)} node(s) separated by '+', not {NODES - 1}; "
            f"the form is {_FORM!r}"
        )
    operations: list[str] = []
    position = 0
    for target, group in enumerate(groups, start=1):
        operations += _parse_node(arch, group, target, position)
        position += len(group) + 1
    return tuple(operations)


def _parse_node(arch: str, group: str, target: int, position: int) -> list[str]:
    """The operations of the edges into ``target``; ``group`` starts at ``position`` in ``arch``."""
    where = f"node {target} at position {position} of {arch!r}"
    if len(group) < 2 or group[0] != "|" or group[-1] != "|":
        raise ArchitectureError(f"{where}: {group!r} must start and end with '|'")
    entries = group[1:-1].split("|")
    if len(entries) != target:
        raise ArchitectureError(
            f"{where}: {len(entries)} edge(s), not {target}; the form is {_FORM!r}"
        )
    operations = []
    position += 1
    for source, entry in enumerate(entries):
        operations.append(_parse_edge(arch, entry, Edge(target, source), position))
        position += len(entry) + 1
    return operations


def _parse_edge(arch: str, entry: str, edge: Edge, position: int) -> str:
    operation, tilde, source = entry.partition("~")
    where = f"edge {edge} at position {position} of {arch!r}"
    if operation not in OPERATIONS:
        raise ArchitectureError(
            f"{where}: unknown operation {operation!r}; known are {', '.join(OPERATIONS)}"
        )
    if source != str(edge.source):
        raise ArchitectureError(
            f"{where}: {tilde + source!r} after {operation!r} must be '~{edge.source}', its source"
        )
    return operation


def format(operations: Sequence[str]) -> str:  # noqa: A001 - the counterpart of parse
    """The architecture string of six operations given in the order of `EDGES`.

    Raises `ArchitectureError` for another number of operations, or an unknown one.
    """
    if isinstance(operations, str) or len(operations) != len(EDGES):
        raise ArchitectureError(
            f"expected {len(EDGES)} operations, one for each of the edges "
            f"{', '.join(map(str, EDGES))}; got {operations!r}"
        )
    for edge, operation in zip(EDGES, operations, strict=True):
        if operation not in OPERATIONS:
            raise ArchitectureError(
                f"edge {edge}: unknown operation {operation!r}; known are {', '.join(OPERATIONS)}"
            )
    return _join(operations)


def _join(operations: Sequence[str]) -> str:
    entries = iter(operations)
    nodes = (
        "|" + "|".join(f"{next(entries)}~{source}" for source in range(target)) + "|"
        for target in range(1, NODES)
    )
    return "+".join(nodes)


def validate(arch: str) -> None:
    """Raise `ArchitectureError`, as `parse` does, unless ``arch`` is an architecture string."""
    parse(arch)
