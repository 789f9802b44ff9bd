"""Cells whose operations lie on the edges of a graph, and whose nodes are sums."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

Edge = tuple[int, int]
"""(target, source), the source less than the target."""


class EdgeCell(nn.Module):
    """A cell: node 0 is its input, the last node its output, each other node in between.

    Parameters are named after their edges, ``edge.3<-1.conv.weight``.
    """

    static_graph = True

    def __init__(self, operations: Mapping[Edge, nn.Module], output: int) -> None:
        """``operations`` has the edges by target; every node that is read needs one that leads to
        it, and so does the output."""
        super().__init__()
        self.edge = nn.ModuleDict(
            {f"{target}<-{source}": module for (target, source), module in operations.items()}
        )
        self._edges = list(zip(operations, self.edge, strict=True))
        self._output = output

    def forward(self, x: Tensor) -> Tensor:
        nodes = {0: x}
        for (target, source), name in self._edges:
            term = self.edge[name](nodes[source])
            nodes[target] = nodes[target] + term if target in nodes else term
        return nodes[self._output]


def kept_empty_edges(used: Collection[Edge], output: int) -> set[Edge]:
    """The edges without an operation that cannot be left out of a cell's sums.

    A published network adds zeros for each, which costs time and changes nothing, except where a
    node has no other input (it holds zeros) or no other way out (an edge that leads to it then has
    gradients of zero rather than none at all).
    """
    fed = {target for target, _ in used}
    read = {source for _, source in used}
    kept = {(node, 0) for node in {*read, output} - fed - {0}}
    return kept | {(output, node) for node in fed - read - {output}}


def added(terms: list[Tensor]) -> Tensor:
    """The sum of one or more tensors, from the first to the last."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
