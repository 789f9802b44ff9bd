"""The size space of NATS-Bench (Dong et al. 2021): 32,768 choices of five channel counts."""

from vkdnw.search.spaces.nats_sss.architecture import (
    CHANNELS,
    LAYERS,
    architectures,
    format,  # noqa: A004 - the counterpart of parse
    parse,
    read,
)
from vkdnw.search.spaces.nats_sss.space import NATSSize

__all__ = [
    "CHANNELS",
    "LAYERS",
    "NATSSize",
    "architectures",
    "format",
    "parse",
    "read",
]
