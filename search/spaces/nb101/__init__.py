"""NAS-Bench-101 (Ying et al. 2019): 423,624 graphs of at most seven vertices and nine edges."""

from vkdnw.search.spaces.nb101.architecture import (
    Graph,
    format,  # noqa: A004 - the counterpart of parse
    parse,
    prune,
    read,
)
from vkdnw.search.spaces.nb101.isomorphism import canonical, graph_hash
from vkdnw.search.spaces.nb101.sampling import mutate, sample, sample_official
from vkdnw.search.spaces.nb101.space import NB101

__all__ = [
    "NB101",
    "Graph",
    "canonical",
    "format",
    "graph_hash",
    "mutate",
    "parse",
    "prune",
    "read",
    "sample",
    "sample_official",
]
