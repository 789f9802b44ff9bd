"""Drawing and mutating architectures of the DARTS space."""

from random import Random

from vkdnw.search.spaces.darts.architecture import (
    DRAWN,
    EDGES_OF_A_NODE,
    INPUTS,
    NODES,
    OPERATIONS,
    Architecture,
    Cell,
    Edge,
)
from vkdnw.search.spaces.darts.equality import canonical

_TRIES = 100


def sample(random: Random) -> Architecture:
    """Two different sources for every node, operations uniform over seven.

    So NAS-Bench-301, NASLib and the discretisation of DARTS have it; uniform over
    1,037,664,180 cells for either.
    """
    return Architecture(*(_distinct(random) for _ in Architecture._fields))


def sample_swap(random: Random) -> Architecture:
    """As the cells of SWAP (Peng et al. 2024) are: one for both kinds; `none` and equal sources."""
    cell = tuple(
        tuple(
            Edge(random.randrange(state), random.choice(list(OPERATIONS)))
            for _ in range(EDGES_OF_A_NODE)
        )
        for state in range(INPUTS, INPUTS + NODES)
    )
    return Architecture(cell, cell)


def mutate(architecture: Architecture, random: Random) -> Architecture:
    """Another operation or another source on one of the 16 edges, with equal chances.

    Regularised evolution of this space (Real et al. 2019). The first node has no other source, and
    gets another operation instead. The draw is repeated where the network is the same.
    """
    parent = canonical(architecture)
    for _ in range(_TRIES):
        child = _changed(architecture, random)
        if canonical(child) != parent:
            break
    return child


def _distinct(random: Random) -> Cell:
    return tuple(
        tuple(
            Edge(source, random.choice(DRAWN))
            for source in sorted(random.sample(range(state), EDGES_OF_A_NODE))
        )
        for state in range(INPUTS, INPUTS + NODES)
    )


def _changed(architecture: Architecture, random: Random) -> Architecture:
    which, node, place = random.randrange(2), random.randrange(NODES), random.randrange(2)
    cell = architecture[which]
    edge, partner = cell[node][place], cell[node][1 - place]
    sources = [s for s in range(INPUTS + node) if s not in (edge.source, partner.source)]
    if sources and random.random() < 0.5:
        changed = edge._replace(source=random.choice(sources))
    else:
        others = [operation for operation in DRAWN if operation != edge.operation]
        changed = edge._replace(operation=random.choice(others))
    cells = [[list(node) for node in cell] for cell in architecture]
    cells[which][node][place] = changed
    return Architecture(*(tuple(map(tuple, cell)) for cell in cells))
