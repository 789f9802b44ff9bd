"""An architecture as a graph to draw: nodes by number, edges with the name of their operation."""

from typing import Any

from vkdnw.search.spaces.search_space import SearchSpace

Diagram = list[tuple[int, int, str]]
"""Edges: from node, to node, operation. Nodes are numbered from the input on."""


def diagram_of(space: SearchSpace, architecture: str) -> Diagram:
    """The space's own diagram, or a chain of the lines of its description."""
    own: Any = getattr(space, "diagram", None)
    if own is not None:
        found: Diagram = own(architecture)
        return found
    lines = space.describe(architecture).splitlines()
    return [(number, number + 1, line.strip()) for number, line in enumerate(lines)]
