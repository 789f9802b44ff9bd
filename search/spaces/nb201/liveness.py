"""Dead edges: those that no signal passes on its way from the cell's input to its output."""

from collections.abc import Iterable

from vkdnw.search.spaces.nb201 import architecture
from vkdnw.search.spaces.nb201.architecture import EDGES, NODES, NONE, Edge, parse


def dead_edges(arch: str) -> tuple[Edge, ...]:
    """The edges of ``arch`` that carry an operation other than ``none`` but lie on no path 0 -> 3.

    The source of a dead edge cannot be reached from node 0, or node 3 cannot be reached from its
    target.
    """
    edges = _used_edges(parse(arch))
    fed = _closure(0, [(edge.source, edge.target) for edge in edges])
    used = _closure(NODES - 1, [(edge.target, edge.source) for edge in edges])
    return tuple(edge for edge in edges if edge.source not in fed or edge.target not in used)


def is_live(arch: str) -> bool:
    """Whether every edge of ``arch`` that is not ``none`` is live.

    That holds for the 9,445 architectures of the paper's tables. The one whose edges are all
    ``none`` is among them: it has no edge that could be dead.
    """
    return not dead_edges(arch)


def prune(arch: str) -> str:
    """``arch`` with ``none`` on its dead edges.

    The logits stay the same as long as BatchNorm's biases and running means are zero, as they
    are in an untrained network: a convolution of a node without input then gives zero. The
    parameters do not: a convolution on a dead edge counts among the network's parameters, tensors
    and FLOPs.
    """
    dead = set(dead_edges(arch))
    return architecture.format(
        [NONE if edge in dead else op for edge, op in zip(EDGES, parse(arch), strict=True)]
    )


def _used_edges(operations: tuple[str, ...]) -> list[Edge]:
    return [edge for edge, operation in zip(EDGES, operations, strict=True) if operation != NONE]


def _closure(start: int, steps: Iterable[tuple[int, int]]) -> set[int]:
    """The nodes reached from ``start`` by the ``steps`` (before, after), ``start`` included."""
    steps = list(steps)
    reached = {start}
    for _ in range(NODES):
        reached |= {after for before, after in steps if before in reached}
    return reached
