"""TransNAS-Bench-101 (Duan et al. 2021): 4,096 cells (micro) and 3,256 macro structures.

Both build on the same encoder; `TransNASMicro` and `TransNASMacro` are the spaces.
"""

from vkdnw.search.spaces.transnas.architecture import (
    Architecture,
    canonical_cell,
    format,  # noqa: A004 - the counterpart of parse
    is_connected,
    macro_architectures,
    micro_architectures,
    official_index,
    parse,
    read,
)
from vkdnw.search.spaces.transnas.space import TransNASMacro, TransNASMicro

__all__ = [
    "Architecture",
    "TransNASMacro",
    "TransNASMicro",
    "canonical_cell",
    "format",
    "is_connected",
    "macro_architectures",
    "micro_architectures",
    "official_index",
    "parse",
    "read",
]
