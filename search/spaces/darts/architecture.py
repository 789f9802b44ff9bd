"""Architecture strings of the DARTS space: a normal cell, a slash, a reduction cell.

States 0 and 1 of a cell are the outputs of the two cells before it. Each of the states 2 to 5 is
the sum of two edges, an operation and the earlier state that it reads; the cell's output are these
four side by side. ``sep_conv_3x3~0+skip_connect~1|...|...|.../...`` names the edges of the states
2, 3, 4, 5 of either cell.
"""

from typing import NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError

NONE = -1
MAX_POOL, AVERAGE_POOL, SKIP, SEP_3X3, SEP_5X5, DIL_3X3, DIL_5X5 = range(7)
OPERATIONS = {
    MAX_POOL: "max_pool_3x3",
    AVERAGE_POOL: "avg_pool_3x3",
    SKIP: "skip_connect",
    SEP_3X3: "sep_conv_3x3",
    SEP_5X5: "sep_conv_5x5",
    DIL_3X3: "dil_conv_3x3",
    DIL_5X5: "dil_conv_5x5",
    NONE: "none",
}
"""By the number that NASLib gives each; `none` is read but not drawn."""
SEPARABLE = {SEP_3X3: 3, SEP_5X5: 5}
DILATED = {DIL_3X3: 3, DIL_5X5: 5}
DRAWN = tuple(operation for operation in OPERATIONS if operation != NONE)

_NUMBERS = {name: operation for operation, name in OPERATIONS.items()}

INPUTS = 2
NODES = 4
EDGES_OF_A_NODE = 2

_FORM = "'op~state+op~state|...|...|.../...|...|...|...'"


class Edge(NamedTuple):
    source: int
    """The state that it reads."""
    operation: int

    def __str__(self) -> str:
        return f"{OPERATIONS[self.operation]}~{self.source}"


Cell = tuple[tuple[Edge, ...], ...]
"""Two edges for each of the states 2, 3, 4, 5."""


class Architecture(NamedTuple):
    normal: Cell
    reduction: Cell


def parse(arch: str) -> Architecture:
    """The cells of a string. A state may have two edges from the same source.

    Raises `ArchitectureError` that names the cell, the state and the edge that is wrong.
    """
    if not isinstance(arch, str):
        raise ArchitectureError(f"expected {_FORM}, not {type(arch).__name__}: {arch!r}")
    cells = arch.split("/")
    if len(cells) != len(Architecture._fields):
        raise ArchitectureError(
            f"{arch!r} has {len(cells)} cell(s) separated by '/', not 2; the form is {_FORM}"
        )
    return Architecture(*map(_parse_cell, cells, Architecture._fields))


def _parse_cell(text: str, cell: str) -> Cell:
    nodes = text.split("|")
    if len(nodes) != NODES:
        raise ArchitectureError(
            f"the {cell} cell {text!r} has {len(nodes)} state(s) separated by '|', not {NODES}; "
            f"the form is {_FORM}"
        )
    return make_cell([[_split(entry) for entry in node.split("+")] for node in nodes], cell)


def _split(entry: str) -> tuple[object, str]:
    name, _, source = entry.partition("~")
    known = source.isascii() and source.isdigit() and len(source) < 3
    return (int(source) if known else source), name


def make_cell(nodes: list[list[tuple[object, str]]], cell: str) -> Cell:
    """A cell from (source, name of the operation) of the edges of each node.

    Raises `ArchitectureError`; ``cell`` names it in the message.
    """
    made = []
    for state, edges in enumerate(nodes, start=INPUTS):
        where = f"{cell} cell, state {state}"
        if len(edges) != EDGES_OF_A_NODE:
            raise ArchitectureError(f"{where}: {len(edges)} edge(s), not {EDGES_OF_A_NODE}")
        for place, (source, name) in enumerate(edges):
            if name not in _NUMBERS:
                raise ArchitectureError(
                    f"{where}, edge {place}: unknown operation {name!r}; known are "
                    f"{', '.join(_NUMBERS)}"
                )
            if type(source) is not int or not 0 <= source < state:
                raise ArchitectureError(
                    f"{where}, edge {place}: it reads {source!r}, not a state 0 to {state - 1}"
                )
        made.append(tuple(Edge(int(str(source)), _NUMBERS[name]) for source, name in edges))
    return tuple(made)


def format(architecture: Architecture) -> str:  # noqa: A001 - the counterpart of parse
    """The string of two cells; `parse` undoes it."""
    return "/".join("|".join("+".join(map(str, node)) for node in cell) for cell in architecture)
