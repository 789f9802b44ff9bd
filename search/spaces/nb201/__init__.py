"""NAS-Bench-201 (Dong and Yang 2020): the search space of 15,625 cells with known accuracies.

Architectures are strings ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, and the rest are functions of
them.
"""

from typing import TYPE_CHECKING, Any

from vkdnw.search.spaces.nb201.all_architectures import enumerate, live  # noqa: A004 - every space enumerates
from vkdnw.search.spaces.nb201.architecture import (
    EDGES,
    OPERATIONS,
    Edge,
    format,  # noqa: A004 - the counterpart of parse
    parse,
    validate,
)
from vkdnw.search.spaces.nb201.cost import convolutions, flops, layers, parameters
from vkdnw.search.spaces.nb201.isomorphism import canonical
from vkdnw.search.spaces.nb201.liveness import dead_edges, is_live, prune
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.spaces.search_space import ArchitectureError

if TYPE_CHECKING:
    from vkdnw.search.spaces.nb201.network import build

__all__ = [
    "EDGES",
    "NB201",
    "OPERATIONS",
    "ArchitectureError",
    "Edge",
    "build",
    "canonical",
    "convolutions",
    "dead_edges",
    "enumerate",
    "flops",
    "format",
    "is_live",
    "layers",
    "live",
    "parameters",
    "parse",
    "prune",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name == "build":  # all but the networks themselves does without torch
        from vkdnw.search.spaces.nb201.network import build

        return build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
