"""Reads the autograd graph: the users of every node's output."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor

Node = Any  # torch.autograd.graph.Node; the nodes made in C++ share no Python class


def consumers(root: Tensor) -> dict[Node, list[Node]]:
    """For every node below ``root``: the nodes that take its output, once for each use."""
    return {} if root.grad_fn is None else consumers_below(root.grad_fn)


def consumers_below(root: Node) -> dict[Node, list[Node]]:
    """The same from a node on."""
    users: dict[Node, list[Node]] = defaultdict(list)
    users[root] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions:
            if source is None:
                continue
            if source not in users:
                waiting.append(source)
            users[source].append(node)
    return dict(users)
