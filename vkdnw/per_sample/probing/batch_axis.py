"""Nodes of the autograd graph that send each row's gradient back to the same row.

Where samples are rows, they cannot mix below such nodes: that is proved by the kinds of the nodes,
and needs no backward pass. What is left to be looked at are the gradients that enter from above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node

Shape = tuple[int, ...]


def entries(
    edges: Iterable[GradientEdge], users: dict[Node, list[Node]], samples: int
) -> list[GradientEdge]:
    """Edges whose gradients decide which samples the gradients at the given edges reach.

    Every path from the root to one of ``edges`` passes one of these, and below them nothing but
    nodes that keep rows apart, on maps with as many rows.

    Args:
        edges: of nodes of the graph.
        users: the graph, see :func:`vkdnw.backward.graph.consumers`.
        samples: each has as many rows of a map, one sample's behind the other's.
    """
    found: dict[tuple[Node, int], GradientEdge] = {}
    waiting = list(edges)
    seen: set[tuple[Node, int]] = set()
    while waiting:
        edge = waiting.pop()
        key = (edge.node, edge.output_nr)
        if key in seen:
            continue
        seen.add(key)
        above = users.get(edge.node, [])
        if (
            above
            and _is_by_sample(edge, samples)
            and all(_keeps_rows(user, edge.node) for user in above)
        ):
            waiting += [GradientEdge(user, 0) for user in above]
        else:
            found[key] = edge
    return list(found.values())


def _is_by_sample(edge: GradientEdge, samples: int) -> bool:
    shape = _shape(edge.node) if edge.output_nr == 0 else ()
    return len(shape) > 0 and shape[0] % samples == 0


def _keeps_rows(node: Node, source: Node) -> bool:
    """Whether no gradient of a node's output goes to another row of a source, by any path."""
    kind = _KINDS.get(node.name())
    if kind is None:
        return False
    shape, reached = _shape(node), _shape(source)
    if not shape or shape[0] != reached[0]:
        return False
    return all(
        number == 0 and kind(node, position, shape, reached)
        for position, (user_of, number) in enumerate(node.next_functions)
        if user_of == source
    )


def _shape(node: Node) -> Shape:
    """Of what a node returned first; or of the leaf that it stands for."""
    return tuple(node._input_metadata[0].shape)


def _elementwise(node: Node, position: int, shape: Shape, reached: Shape) -> bool:
    """Rows may be broadcast, but not over rows: those are as many, and in the same axis."""
    return len(shape) == len(reached)


def _of_input(node: Node, position: int, shape: Shape, reached: Shape) -> bool:
    """Layers on the first argument, whose first axis is that of their output."""
    return position == 0


def _batch_norm(node: Node, position: int, shape: Shape, reached: Shape) -> bool:
    return position == 0 and not node._saved_training


def _mean(node: Node, position: int, shape: Shape, reached: Shape) -> bool:
    """Over other axes than the first; negative ones come as axis + 2^64."""
    axes = {(axis + len(reached)) % 2**64 % len(reached) for axis in node._saved_dim}
    return position == 0 and 0 not in axes


_KINDS: dict[str, Callable[[Node, int, Shape, Shape], bool]] = {
    **dict.fromkeys(("AddBackward0", "CloneBackward0", "MulBackward0"), _elementwise),
    **dict.fromkeys(("ReluBackward0", "HardtanhBackward0"), _elementwise),
    **dict.fromkeys(("SiluBackward0", "GeluBackward0"), _elementwise),
    **dict.fromkeys(("ConvolutionBackward0", "ViewBackward0"), _of_input),
    **dict.fromkeys(("AvgPool2DBackward0", "MaxPool2DWithIndicesBackward0"), _of_input),
    "NativeBatchNormBackward0": _batch_norm,
    "MeanBackward1": _mean,
}
"""By the names that torch gives nodes: a test, given node, argument and both shapes."""
