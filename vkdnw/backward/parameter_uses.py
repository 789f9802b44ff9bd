"""How often a parameter enters the autograd graph."""

from __future__ import annotations

from collections import Counter

from vkdnw.backward.graph import Node
from vkdnw.backward.node_kinds import kind_of


def uses(users: dict[Node, list[Node]]) -> Counter[int]:
    """How many times each leaf tensor is used in the graph, by the tensor's id.

    A transposition or a cast is not counted itself; the uses of its result are. ``linear``
    transposes its weight, autocast keeps the tensors it has cast, and other operations may use
    either.
    """
    counts: Counter[int] = Counter()
    for node in users:
        leaf = getattr(node, "variable", None)  # only gradient accumulators of leaves have one
        if leaf is not None:
            counts[id(leaf)] += _uses(node, users)
    return counts


def _uses(node: Node, users: dict[Node, list[Node]]) -> int:
    return sum(_uses(user, users) if kind_of(user).passes_on else 1 for user in users[node])
