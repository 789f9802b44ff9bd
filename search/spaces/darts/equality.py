"""Which strings of the DARTS space denote the same network."""

from functools import lru_cache
from itertools import permutations

from vkdnw.search.spaces.darts.architecture import (
    AVERAGE_POOL,
    INPUTS,
    MAX_POOL,
    NODES,
    NONE,
    SKIP,
    Architecture,
    Cell,
    Edge,
)


def canonical(architecture: Architecture) -> Architecture:
    """The architecture that stands for all with the same network.

    The order of a node's two edges does not matter, and nodes may be numbered in any order in which
    they can be computed: the channels of the cell's output then come in another order, which
    untrained weights cannot tell. An edge `none` gives zeros whatever it reads; so do a pooling and
    a skip connection of a node that is zero. The least of all these, sorted by source and
    operation, is taken. Equal networks may list their parameters in different orders.
    """
    return Architecture(*map(_canonical_cell, architecture))


@lru_cache(maxsize=4096)  # the parents of an evolution come again and again
def _canonical_cell(cell: Cell) -> Cell:
    cell = _without_zeros(cell)
    return min(
        renumbered
        for order in permutations(range(NODES))
        if (renumbered := _renumbered(cell, order)) is not None
    )


def _without_zeros(cell: Cell) -> Cell:
    """With `none`, from state 0, on every edge that is known to give zeros."""
    zero: set[int] = set()
    nodes = []
    for state, node in enumerate(cell, start=INPUTS):
        edges = tuple(
            Edge(0, NONE)
            if operation == NONE or (source in zero and operation in (MAX_POOL, AVERAGE_POOL, SKIP))
            else Edge(source, operation)
            for source, operation in node
        )
        if all(edge.operation == NONE for edge in edges):
            zero.add(state)
        nodes.append(edges)
    return tuple(nodes)


def _renumbered(cell: Cell, order: tuple[int, ...]) -> Cell | None:
    """The cell with its nodes in this order, or None where one would come before its inputs."""
    place = {0: 0, 1: 1} | {node + INPUTS: new + INPUTS for new, node in enumerate(order)}
    nodes = []
    for new, node in enumerate(order):
        edges = [Edge(place[source], operation) for source, operation in cell[node]]
        if any(edge.source >= new + INPUTS for edge in edges):
            return None
        nodes.append(tuple(sorted(edges)))
    return tuple(nodes)
