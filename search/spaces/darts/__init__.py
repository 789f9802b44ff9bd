"""The space of DARTS (Liu et al. 2019) and NAS-Bench-301 (Siems et al. 2020; Zela et al. 2022).

A normal cell and a reduction cell, each of four nodes with two edges: about 10^18 networks.
"""

from vkdnw.search.spaces.darts.architecture import (
    OPERATIONS,
    Architecture,
    Edge,
    format,  # noqa: A004 - the counterpart of parse
    parse,
)
from vkdnw.search.spaces.darts.equality import canonical
from vkdnw.search.spaces.darts.notations import compact, genotype, read
from vkdnw.search.spaces.darts.space import DARTS

__all__ = [
    "DARTS",
    "OPERATIONS",
    "Architecture",
    "Edge",
    "canonical",
    "compact",
    "format",
    "genotype",
    "parse",
    "read",
]
