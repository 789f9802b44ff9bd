"""Which strings of NAS-Bench-101 denote the same network, and the benchmark's hash of a graph."""

from collections.abc import Iterator
from hashlib import md5
from itertools import permutations

from vkdnw.search.spaces.nb101.architecture import Graph, format, pruned  # noqa: A004


def canonical(arch: str, channels: int = 128, isomorphic: bool = False) -> str:
    """The string that stands for all with the network of ``arch``: pruned, and the least one.

    Renumbered vertices keep the network, with one exception: where ``channels`` are not divisible
    by the number of vertices that the output concatenates, the first of these get one channel more.
    Their order is then a part of the network, and is kept. The benchmark takes all isomorphic
    graphs for one entry (its accuracy is that of one numbering); so does ``isomorphic``, for
    look-ups, and the cost of the result may then differ from that of ``arch`` by a few channels.

    Raises `ArchitectureError`.
    """
    graph = pruned(arch)
    heads = [vertex for vertex in graph.sources(graph.output) if vertex != 0]
    kept = heads if heads and channels % len(heads) and not isomorphic else []
    return min(map(format, renumbered(graph, kept)))


def renumbered(graph: Graph, kept: list[int] | None = None) -> Iterator[Graph]:
    """Every graph that renumbers the vertices between input and output so that edges go upwards.

    The vertices of ``kept`` stay in their order.
    """
    vertices = range(1, graph.output)
    for order in permutations(vertices):
        place = {0: 0, graph.output: graph.output}
        place |= {vertex: index for index, vertex in enumerate(order, start=1)}
        places = [place[vertex] for vertex in kept or ()]
        if places == sorted(places) and all(place[i] < place[j] for i, j in graph.edges):
            yield Graph(
                tuple(graph.operations[vertex - 1] for vertex in order),
                frozenset((place[i], place[j]) for i, j in graph.edges),
            )


def numberings(graph: Graph) -> int:
    """The number of different strings among the renumberings of a pruned graph."""
    return len(set(map(format, renumbered(graph))))


def graph_hash(arch: str) -> str:
    """The hash under which the official data set holds an architecture, equal for isomorphic ones.

    Hexadecimal MD5 (Ying et al. 2019, Appendix S3; the text that is hashed is that of the
    benchmark's own code). Raises `ArchitectureError`.
    """
    graph = pruned(arch)
    labels = [-1, *graph.operations, -2]
    vertices = range(len(labels))
    hashes = [
        _md5(str((len(graph.targets(v)), len(graph.sources(v)), labels[v]))) for v in vertices
    ]
    for _ in vertices:
        hashes = [
            _md5(
                "".join(sorted(hashes[u] for u in graph.sources(v)))
                + "|"
                + "".join(sorted(hashes[u] for u in graph.targets(v)))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
