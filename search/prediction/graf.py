"""Graph features of a NAS-Bench-201 cell, after GRAF.

Kadlecova, Lukasik, Pilat, Vidnerova, Safari, Neruda, Hutter 2024, "Surprisingly Strong Performance
Prediction with Neural Graph Features", Section 3: how often each operation occurs and, for every
set of operations, how short a path of these alone leads from input to output, how many of them a
path can hold, and how many of them meet at the nodes.

Written from the paper's description. An edge that carries ``none`` is no edge of the graph, so the
sets are those of the other four operations.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator
from functools import cache

import pandas as pd

from vkdnw.search.spaces.nb201.architecture import EDGES, NODES, NONE, OPERATIONS, Edge, parse

SETS = tuple(
    operations
    for size in range(1, len(OPERATIONS))
    for operations in itertools.combinations([op for op in OPERATIONS if op != NONE], size)
)
"""All 15 non-empty sets of operations other than ``none``."""

NO_PATH = NODES
"""The length of a shortest path where there is none: one more than the longest that there can be"""

Labels = dict[Edge, str]


def graf_features(architectures: Iterable[str]) -> pd.DataFrame:
    """Integer features, float64: a row per architecture, indexed by ``arch``.

    ``count(op)`` of the five operations, and for each of the 15 `SETS`:
    ``shortest(set)``, edges on the shortest path from node 0 to node 3 that only has operations of
    the set, `NO_PATH` where there is none; ``most(set)``, the largest number of edges of the set on
    a path of any operations from node 0 to node 3; ``out(set)`` of node 0 and ``in(set)`` of node
    3, edges of the set that leave or enter; ``mean(set)``, in-degree (equally, out-degree) averaged
    over the nodes; ``max_out(set)`` and ``max_in(set)`` over the nodes.

    Raises `ArchitectureError` for a bad string.
    """
    index = pd.Index(architectures, name="arch")
    return pd.DataFrame([_features(arch) for arch in index], index=index, dtype="float64")


def _features(arch: str) -> dict[str, float]:
    operations = parse(arch)
    found: dict[str, float] = {f"count({op})": operations.count(op) for op in OPERATIONS}
    labels = {edge: op for edge, op in zip(EDGES, operations, strict=True) if op != NONE}
    for chosen in SETS:
        features = {**_paths(labels, chosen), **_degrees(labels, chosen)}
        found |= {f"{name}({'|'.join(chosen)})": value for name, value in features.items()}
    return found


def _paths(labels: Labels, chosen: Collection[str]) -> dict[str, float]:
    there = [path for path in _all_paths() if all(edge in labels for edge in path)]
    pure = [len(path) for path in there if all(labels[edge] in chosen for edge in path)]
    held = [sum(labels[edge] in chosen for edge in path) for path in there]
    return {"shortest": min(pure, default=NO_PATH), "most": max(held, default=0)}


def _degrees(labels: Labels, chosen: Collection[str]) -> dict[str, float]:
    edges = [edge for edge, op in labels.items() if op in chosen]
    out = [sum(edge.source == node for edge in edges) for node in range(NODES)]
    into = [sum(edge.target == node for edge in edges) for node in range(NODES)]
    return {
        "out": out[0],
        "in": into[NODES - 1],
        "mean": len(edges) / NODES,
        "max_out": max(out),
        "max_in": max(into),
    }


@cache
def _all_paths() -> tuple[tuple[Edge, ...], ...]:
    """The four paths from node 0 to node 3."""
    return tuple(_paths_from(0))


def _paths_from(node: int) -> Iterator[tuple[Edge, ...]]:
    if node == NODES - 1:
        yield ()
    for edge in EDGES:
        if edge.source == node:
            yield from ((edge, *rest) for rest in _paths_from(edge.target))
