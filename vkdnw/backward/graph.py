"""Reads the autograd graph: which nodes use which, and how often a parameter enters it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from torch import Tensor

Node = Any  # torch.autograd.graph.Node; the nodes made in C++ share no Python class


def consumers(root: Tensor) -> dict[Node, list[Node]]:
    """For every node below ``root``: the nodes that take its output, once for each use."""
    if root.grad_fn is None:
        return {}
    users: dict[Node, list[Node]] = defaultdict(list)
    users[root.grad_fn] = []
    waiting = [root.grad_fn]
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions:
            if source is None:
                continue
            if source not in users:
                waiting.append(source)
            users[source].append(node)
    return dict(users)


def uses(users: dict[Node, list[Node]]) -> Counter[int]:
    """How many times each leaf tensor is used in the graph, by the tensor's id.

    A transposition or a cast of it is what is done with the result: ``linear`` transposes its
    weight, autocast keeps what it has cast, and other operations may use either.
    """
    counts: Counter[int] = Counter()
    for node in users:
        leaf = getattr(node, "variable", None)  # only gradient accumulators of leaves have one
        if leaf is not None:
            counts[id(leaf)] += _uses(node, users)
    return counts


_HANDING_ON = frozenset({"TBackward0", "ToCopyBackward0"})


def _uses(node: Node, users: dict[Node, list[Node]]) -> int:
    return sum(_uses(user, users) if user.name() in _HANDING_ON else 1 for user in users[node])
