"""Architecture strings of NATS-Bench's size space: the channels of five layers.

``8:16:24:32:64`` gives those of a cell, a reduction, a cell, a reduction and a cell; the stem has
as many as the first. All cells are the same, `CELL` (Dong et al. 2021, "NATS-Bench", Section 3.2).
"""

import itertools
from collections.abc import Iterator, Sequence

from vkdnw.search.spaces.search_space import ArchitectureError
from vkdnw.search.spaces.shared.notation import integers

CHANNELS = (8, 16, 24, 32, 40, 48, 56, 64)
LAYERS = 5

CELL = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
"""In NAS-Bench-201's notation."""

_FORM = "five channel counts such as '8:16:24:32:64'"


def parse(arch: str) -> tuple[int, ...]:
    """The channels of the five layers.

    Raises `ArchitectureError` that names the layer (from 0) and the position (in characters, from
    0) of the first thing that is wrong.
    """
    if not isinstance(arch, str):
        raise ArchitectureError(f"expected {_FORM}, not {type(arch).__name__}: {arch!r}")
    entries = arch.split(":")
    if len(entries) != LAYERS:
        raise ArchitectureError(f"{arch!r} has {len(entries)} part(s); expected {_FORM}")
    position = 0
    for layer, entry in enumerate(entries):
        if entry not in map(str, CHANNELS):
            raise ArchitectureError(
                f"layer {layer} at position {position} of {arch!r}: {entry!r} is not among "
                f"{', '.join(map(str, CHANNELS))}"
            )
        position += len(entry) + 1
    return tuple(map(int, entries))


def format(channels: Sequence[int]) -> str:  # noqa: A001 - the counterpart of parse
    """The string of the channels of five layers. Raises `ArchitectureError` for others."""
    arch = ":".join(map(str, channels))
    parse(arch)
    return arch


def architectures() -> Iterator[str]:
    """All 32,768 strings, the last layer fastest."""
    return map(format, itertools.product(CHANNELS, repeat=LAYERS))


def read(text: str) -> str:
    """The string of an architecture in its own notation, or as a tuple of five channel counts.

    Raises `ArchitectureError`.
    """
    numbers = integers(text)
    if numbers is not None:
        return format(numbers)
    parse(text)
    return text
