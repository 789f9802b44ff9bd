"""All architectures of NAS-Bench-201, in the order of the benchmark's index."""

import itertools
import random
from functools import cache

from vkdnw.search.spaces.nb201 import architecture
from vkdnw.search.spaces.nb201.architecture import EDGES, OPERATIONS
from vkdnw.search.spaces.nb201.liveness import is_live

# NATS-Bench lists the strings in lexicographic order of their operations, first edge slowest, and
# shuffles the list with Python's generator seeded by 88; that reproduces all 15,625 indices of its
# meta file.
_OFFICIAL_SEED = 88


@cache
def enumerate() -> tuple[str, ...]:  # noqa: A001 - every space enumerates
    """All 15,625 architecture strings; position ``i`` holds NATS-Bench (topology) index ``i``."""
    architectures = list(lexicographic())
    random.Random(_OFFICIAL_SEED).shuffle(architectures)
    return tuple(architectures)


@cache
def lexicographic() -> tuple[str, ...]:
    """All 15,625 architecture strings, lexicographic by `OPERATIONS`, the first edge slowest."""
    return tuple(
        architecture.format(choice) for choice in itertools.product(OPERATIONS, repeat=len(EDGES))
    )


@cache
def live() -> tuple[str, ...]:
    """The 9,445 architectures without a dead edge, in the order of `enumerate`."""
    return tuple(arch for arch in enumerate() if is_live(arch))
