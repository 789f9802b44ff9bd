"""Architecture strings of NAS-Bench-101 (Ying et al. 2019).

A cell is a directed acyclic graph of at most seven vertices and nine edges. Vertex 0 is its input,
the last its output, and each of those between has an operation. A string is the strict upper
triangle of the adjacency matrix, row by row, a colon, and the operations of the vertices between:
``100110100001001010101:02001``.
"""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.notation import integers, literal

CONV_3X3, CONV_1X1, POOL = range(3)
OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")
"""By their digit."""
KERNELS = {CONV_3X3: 3, CONV_1X1: 1}

MOST_VERTICES = 7
MOST_EDGES = 9

_FORM = re.compile(r"([01]*):([012]*)")
_NASLIB_OPERATIONS = {4: CONV_3X3, 3: CONV_1X1, 2: POOL}
_OFFICIAL_OPERATIONS = {
    "conv3x3-bn-relu": CONV_3X3,
    "conv1x1-bn-relu": CONV_1X1,
    "maxpool3x3": POOL,
}


class Graph(NamedTuple):
    """A cell: vertices 0 (input) to ``len(operations) + 1`` (output)."""

    operations: tuple[int, ...]
    """Of the vertices 1, 2, ... between input and output."""
    edges: frozenset[tuple[int, int]]
    """(from, to), from < to."""

    @property
    def output(self) -> int:
        return len(self.operations) + 1

    def sources(self, vertex: int) -> list[int]:
        return [i for i in range(vertex) if (i, vertex) in self.edges]

    def targets(self, vertex: int) -> list[int]:
        return [j for j in range(vertex + 1, self.output + 1) if (vertex, j) in self.edges]


def parse(arch: str) -> Graph:
    """The graph of a string, with the vertices that pruning takes away.

    Raises:
        ArchitectureError: the form is wrong; or, after pruning, no path leads from the input to the
            output, or more than nine edges are left. As in the benchmark, edges that are pruned do
            not count.
    """
    match = _FORM.fullmatch(arch) if isinstance(arch, str) else None
    if match is None:
        raise ArchitectureError(
            f"{arch!r}: expected the digits 0 and 1 of an upper triangle, ':', and the digits 0, 1 "
            "and 2 of operations, such as '100110100001001010101:02001'"
        )
    bits, digits = match.groups()
    vertices = len(digits) + 2
    if vertices > MOST_VERTICES:
        raise ArchitectureError(
            f"{arch!r} has {len(digits)} operations; at most {MOST_VERTICES - 2} are possible"
        )
    pairs = list(combinations(range(vertices), 2))
    if len(bits) != len(pairs):
        raise ArchitectureError(
            f"{arch!r}: the upper triangle of {vertices} vertices has {len(pairs)} digits, "
            f"not {len(bits)}"
        )
    edges = frozenset(pair for pair, bit in zip(pairs, bits, strict=True) if bit == "1")
    graph = Graph(tuple(map(int, digits)), edges)
    left = len(prune(graph).edges)
    if left == 0:
        raise ArchitectureError(f"{arch!r}: no path leads from the input to the output")
    if left > MOST_EDGES:
        raise ArchitectureError(
            f"{arch!r} has {left} edges after pruning; at most {MOST_EDGES} are possible"
        )
    return graph


def format(graph: Graph) -> str:  # noqa: A001 - the counterpart of parse
    """The string of a graph; `parse` undoes it."""
    pairs = combinations(range(graph.output + 1), 2)
    triangle = "".join("1" if pair in graph.edges else "0" for pair in pairs)
    return f"{triangle}:{''.join(map(str, graph.operations))}"


def prune(graph: Graph) -> Graph:
    """Without the vertices that lie on no path from the input to the output.

    All edges are gone where there is no such path.
    """
    fed, used = {0}, {graph.output}
    for vertex in range(1, graph.output + 1):
        if fed.intersection(graph.sources(vertex)):
            fed.add(vertex)
    for vertex in reversed(range(graph.output)):
        if used.intersection(graph.targets(vertex)):
            used.add(vertex)
    kept = sorted(fed & used)
    if graph.output not in kept:
        return Graph((), frozenset())
    place = {vertex: index for index, vertex in enumerate(kept)}
    return Graph(
        tuple(graph.operations[vertex - 1] for vertex in kept[1:-1]),
        frozenset((place[i], place[j]) for i, j in graph.edges if i in place and j in place),
    )


def pruned(arch: str) -> Graph:
    """The graph whose network a string denotes. Raises `ArchitectureError`."""
    return prune(parse(arch))


def read(text: str) -> str:
    """The string of an architecture in any notation of the benchmark's users.

    Its own; NASLib's tuple (the whole matrix row by row, then the operations, of which 0 is the
    input, 1 the output, 2 a maximum, 3 a 1x1 and 4 a 3x3 convolution); or the official pair of a
    matrix and the names of all vertices.

    Raises:
        ArchitectureError: the text is none of these.
    """
    numbers, pair = integers(text), literal(text)
    if numbers is not None:
        return _of_naslib(text, numbers)
    if isinstance(pair, tuple | list):
        return _of_official(text, pair)
    parse(text)
    return text


def _of_naslib(text: str, numbers: tuple[int, ...]) -> str:
    vertices = next((n for n in range(2, MOST_VERTICES + 1) if n * n + n == len(numbers)), None)
    if vertices is None:
        raise ArchitectureError(
            f"{text!r} has {len(numbers)} numbers, not the n * n + n of n = 2..{MOST_VERTICES} "
            "vertices"
        )
    rows = [numbers[i * vertices : (i + 1) * vertices] for i in range(vertices)]
    codes = numbers[vertices * vertices :]
    if codes[0] != 0 or codes[-1] != 1 or any(c not in _NASLIB_OPERATIONS for c in codes[1:-1]):
        raise ArchitectureError(f"{text!r}: operations {codes} are not 0, then 2, 3 or 4, then 1")
    return _of_matrix(text, rows, [_NASLIB_OPERATIONS[code] for code in codes[1:-1]])


def _of_official(text: str, pair: tuple[object, ...] | list[object]) -> str:
    match pair:
        case [[*rows], ["input", *names, "output"]] if all(
            name in _OFFICIAL_OPERATIONS for name in names
        ):
            return _of_matrix(text, rows, [_OFFICIAL_OPERATIONS[str(name)] for name in names])
    raise ArchitectureError(
        f"{text!r} is no pair of a matrix and ['input', ..., 'output'] with operations of "
        f"{', '.join(_OFFICIAL_OPERATIONS)}"
    )


def _of_matrix(text: str, rows: Sequence[object], operations: list[int]) -> str:
    vertices = len(operations) + 2
    edges = set()
    for i, row in enumerate(rows):
        if len(rows) != vertices or not isinstance(row, tuple | list) or len(row) != vertices:
            raise ArchitectureError(f"{text!r}: the matrix is not {vertices} x {vertices}")
        for j, entry in enumerate(row):
            if entry not in (0, 1) or (entry and i >= j):
                raise ArchitectureError(
                    f"{text!r}: entry ({i}, {j}) of the matrix is {entry!r}; expected 0 or 1, and "
                    "0 on and below the diagonal"
                )
            if entry:
                edges.add((i, j))
    arch = format(Graph(tuple(operations), frozenset(edges)))
    parse(arch)
    return arch
