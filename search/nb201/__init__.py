"""NAS-Bench-201 (Dong and Yang 2020): the search space of 15,625 cells with known accuracies.

Architectures are strings ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``, and the rest are functions of
them.
"""

from .architecture import (
    EDGES,
    OPERATIONS,
    ArchitectureError,
    Edge,
    format,  # noqa: A004 - the counterpart of parse
    parse,
    validate,
)
from .cost import convolutions, flops, layers, parameters
from .enumeration import enumerate, live  # noqa: A004 - every space enumerates
from .isomorphism import canonical
from .liveness import dead_edges, is_live, prune
from .network import build

__all__ = [
    "EDGES",
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
