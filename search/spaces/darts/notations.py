"""Notations in which architectures of the DARTS space are published."""

import ast
from collections.abc import Sequence

from vkdnw.search.spaces.darts.architecture import (
    EDGES_OF_A_NODE,
    INPUTS,
    NODES,
    NONE,
    OPERATIONS,
    Architecture,
    Cell,
    format,  # noqa: A004
    make_cell,
    parse,
)
from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.notation import literal

_STATES = list(range(INPUTS, INPUTS + NODES))
_FIRST_EDGE = (0, 2, 5, 9)
"""Where the edges of each node start, in ConfigSpace's numbers of all 14 possible edges."""


def read(text: str) -> str:
    """The string of an architecture in any known notation.

    Its own; a genotype, ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=...)``, as
    DARTS prints; the tuple of NASLib, ``(((0, 5), (1, 3), ...), (...))``, of which the operations
    are numbers and come second; or the dict of NAS-Bench-301's ConfigSpace, which does not tell the
    order of a node's two edges. Nothing of a text is executed.

    Raises:
        ArchitectureError: the text is none of these, or of another space.
    """
    value = literal(text)
    if isinstance(value, tuple | list):
        return format(_of_compact(text, value))
    if isinstance(value, dict):
        return format(_of_configuration(value))
    if isinstance(text, str) and text.lstrip().startswith("Genotype"):
        return format(_of_genotype(text.strip()))
    parse(text)
    return text


def compact(architecture: Architecture) -> str:
    """NASLib's tuple."""
    return str(tuple(tuple(tuple(e) for node in cell for e in node) for cell in architecture))


def genotype(architecture: Architecture) -> str:
    """As DARTS prints."""
    cells = [
        str([(OPERATIONS[edge.operation], edge.source) for node in cell for edge in node])
        for cell in architecture
    ]
    return (
        f"Genotype(normal={cells[0]}, normal_concat={_STATES}, "
        f"reduce={cells[1]}, reduce_concat={_STATES})"
    )


def _of_compact(text: str, value: Sequence[object]) -> Architecture:
    if len(value) != len(Architecture._fields):
        raise ArchitectureError(f"{text!r} has {len(value)} cell(s), not 2")
    names = {number: name for number, name in OPERATIONS.items() if number != NONE}
    cells = []
    for pairs, cell in zip(value, Architecture._fields, strict=True):
        edges: list[tuple[object, str]] = []
        for pair in pairs if isinstance(pairs, tuple | list) else [pairs]:
            match pair:
                case [int(source), int(operation)] if operation in names:
                    edges.append((source, names[operation]))
                case _:
                    raise ArchitectureError(
                        f"{cell} cell: {pair!r} is no pair (state, operation) with an operation "
                        f"0 to {max(names)}"
                    )
        cells.append(_cell_of_pairs(edges, cell))
    return Architecture(*cells)


def _cell_of_pairs(edges: Sequence[tuple[object, str]], cell: str) -> Cell:
    if len(edges) != NODES * EDGES_OF_A_NODE:
        raise ArchitectureError(
            f"the {cell} cell has {len(edges)} edges, not {NODES * EDGES_OF_A_NODE}"
        )
    starts = range(0, len(edges), EDGES_OF_A_NODE)
    return make_cell([list(edges[start : start + EDGES_OF_A_NODE]) for start in starts], cell)


def _of_genotype(text: str) -> Architecture:
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ArchitectureError(f"{text!r} is no genotype: {error.msg}") from error
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    match call:
        case ast.Call(func=ast.Name(id="Genotype"), args=[], keywords=keywords) if {
            keyword.arg for keyword in keywords
        } == set(fields):
            values = {keyword.arg: _value(keyword.value) for keyword in keywords}
        case _:
            raise ArchitectureError(f"{text!r} is no genotype of {', '.join(fields)}")
    for field in ("normal_concat", "reduce_concat"):
        if values[field] != _STATES:
            raise ArchitectureError(f"{field} is {values[field]}; this space has {_STATES}")
    cells = []
    for field, cell in zip(("normal", "reduce"), Architecture._fields, strict=True):
        edges: list[tuple[object, str]] = []
        pairs = values[field]
        for pair in pairs if isinstance(pairs, list) else [pairs]:
            match pair:
                case [str(name), int(source)]:
                    edges.append((source, name))
                case _:
                    raise ArchitectureError(f"{cell} cell: {pair!r} is no (operation, state)")
        cells.append(_cell_of_pairs(edges, cell))
    return Architecture(*cells)


def _value(node: ast.expr) -> object:
    """A list or a literal; ``range(2, 6)`` is a list as well."""
    match node:
        case ast.Call(
            func=ast.Name(id="range"), args=[ast.Constant(int(start)), ast.Constant(int(stop))]
        ) if 0 <= start <= stop < 100:
            return list(range(start, stop))
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
    return list(value) if isinstance(value, tuple | list) else value


def _of_configuration(value: dict[object, object]) -> Architecture:
    entries = {str(key).rpartition(":")[2]: str(entry) for key, entry in value.items()}
    cells = []
    for name, cell in zip(("normal", "reduce"), Architecture._fields, strict=True):
        nodes = []
        for state, first in zip(_STATES, _FIRST_EDGE, strict=True):
            key = f"inputs_node_{name}_{state}"
            sources = entries.get(key, "0_1" if state == INPUTS else "")  # the first has no choice
            edges: list[tuple[object, str]] = []
            for source in sources.split("_"):
                number = int(source) if source.isascii() and source.isdigit() else -1
                edge = f"edge_{name}_{first + number}"
                if not 0 <= number < state or edge not in entries:
                    raise ArchitectureError(
                        f"{cell} cell, state {state}: {key!r} is {sources!r}; expected 'i_j' and "
                        f"an operation for each, such as 'edge_{name}_{first}'"
                    )
                edges.append((number, entries[edge]))
            nodes.append(edges)
        cells.append(make_cell(nodes, cell))
    return Architecture(*cells)
