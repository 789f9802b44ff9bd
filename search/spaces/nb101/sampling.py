"""Drawing and mutating architectures of NAS-Bench-101."""

from itertools import combinations
from random import Random

from vkdnw.search.spaces.nb101.architecture import (
    MOST_EDGES,
    MOST_VERTICES,
    OPERATIONS,
    Graph,
    format,  # noqa: A004
    parse,
    prune,
)
from vkdnw.search.spaces.nb101.isomorphism import canonical, numberings
from vkdnw.search.spaces.search_space import ArchitectureError

_GRAPHS = {2: 1, 3: 6, 4: 90, 5: 3_267, 6: 125_145, 7: 1_164_699}
"""Labelled graphs with nothing to prune, by their vertices; the 423,624 classes are among them."""

_TRIES = 100


def sample(random: Random) -> str:
    """Uniform over the 423,624 classes of isomorphic graphs, so as rows of the benchmark are.

    A labelled graph is drawn uniformly, and kept with one chance in the number of strings that
    denote its class: about one in three is.
    """
    while True:
        vertices = random.choices(list(_GRAPHS), weights=list(_GRAPHS.values()))[0]
        graph = Graph(
            tuple(random.randrange(len(OPERATIONS)) for _ in range(vertices - 2)),
            _full_edges(vertices, random),
        )
        if random.random() * numberings(graph) < 1:
            return format(graph)


def sample_official(random: Random) -> str:
    """As the benchmark's own code draws: a random matrix of seven vertices, until one is valid.

    Far from uniform over networks: one in ten has no vertex between input and output once pruned.
    """
    pairs = list(combinations(range(MOST_VERTICES), 2))
    while True:
        graph = Graph(
            tuple(random.randrange(len(OPERATIONS)) for _ in range(MOST_VERTICES - 2)),
            frozenset(pair for pair in pairs if random.random() < 0.5),
        )
        if _valid(graph):
            return format(graph)


def mutate(arch: str, random: Random) -> str:
    """A pruned neighbour: the official mutation (Ying et al. 2019, Section 4.2), until it differs.

    The graph is padded to seven vertices with operations drawn at random. Each of the 21 edges
    flips with probability 1/7, each of the 5 operations changes with probability 1/5.
    """
    parent = canonical(arch)
    padded = _padded(prune(parse(arch)), random)
    for _ in range(_TRIES):
        child = _mutated(padded, random)
        if _valid(child) and canonical(format(child)) != parent:
            return format(prune(child))
    return format(prune(child)) if _valid(child) else parent


def _mutated(graph: Graph, random: Random) -> Graph:
    pairs = combinations(range(MOST_VERTICES), 2)
    flipped = frozenset(pair for pair in pairs if random.random() < 1 / MOST_VERTICES)
    operations = list(graph.operations)
    for index, operation in enumerate(operations):
        if random.random() < 1 / len(operations):
            operations[index] = (operation + random.randrange(1, len(OPERATIONS))) % len(OPERATIONS)
    return Graph(tuple(operations), graph.edges ^ flipped)


def _padded(graph: Graph, random: Random) -> Graph:
    """With vertices that have no edges before the output, seven in all."""
    last, missing = graph.output, MOST_VERTICES - 1 - graph.output
    edges = frozenset((i, j + missing if j == last else j) for i, j in graph.edges)
    drawn = tuple(random.randrange(len(OPERATIONS)) for _ in range(missing))
    return Graph(graph.operations + drawn, edges)


def _full_edges(vertices: int, random: Random) -> frozenset[tuple[int, int]]:
    """Edges drawn uniformly among those with which no vertex is pruned and at most nine are left.

    Nothing is pruned where every vertex but the output has an edge out, every one but the input an
    edge in.
    """
    pairs = list(combinations(range(vertices), 2))
    starts, ends = set(range(vertices - 1)), set(range(1, vertices))
    while True:
        bits = random.getrandbits(len(pairs))
        if bits.bit_count() > MOST_EDGES:
            continue
        edges = [pair for place, pair in enumerate(pairs) if bits >> place & 1]
        if {i for i, _ in edges} == starts and {j for _, j in edges} == ends:
            return frozenset(edges)


def _valid(graph: Graph) -> bool:
    try:
        parse(format(graph))
    except ArchitectureError:
        return False
    return True
