"""Architecture strings of NAS-Bench-Macro: eight digits, the operation of each layer.

``0`` is the identity, ``1`` an MBConv block with expansion 3 and kernel 3, ``2`` one with expansion
6 and kernel 5. The layers form three stages. The first layer of a stage halves the image and
doubles the channels, so that its ``0`` is a strided 1x1 convolution.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from vkdnw.search.spaces.search_space import ArchitectureError

STAGES = (2, 3, 3)
"""Layers of each stage."""
LAYERS = sum(STAGES)
OPERATIONS = "012"
EXPANSION_AND_KERNEL = {"1": (3, 3), "2": (6, 5)}

_SEQUENCE = re.compile(r"[\[(]\s*[012](\s*,\s*[012]){7}\s*,?\s*[\])]")
_INDEX = re.compile(r"[0-9]{1,4}")


def validate(architecture: str) -> None:
    """Raise `ArchitectureError`, which names the layer, unless the string is an architecture."""
    if not isinstance(architecture, str):
        raise ArchitectureError(
            f"an architecture is a string of {LAYERS} digits, not "
            f"{type(architecture).__name__}: {architecture!r}"
        )
    for layer, operation in enumerate(architecture[:LAYERS]):
        if operation not in OPERATIONS:
            raise ArchitectureError(
                f"layer {layer} of {architecture!r}: unknown operation {operation!r}; known are "
                "0 (identity), 1 (MB3_K3) and 2 (MB6_K5)"
            )
    if len(architecture) != LAYERS:
        raise ArchitectureError(f"{architecture!r} has {len(architecture)} digits, not {LAYERS}")


def parse(text: str) -> str:
    """The string of an architecture: itself, a list such as ``[0, 1, 2, ...]``, or the row of the
    published table from 0, as ``6560``. Raises `ArchitectureError`."""
    text = str(text).strip()
    if _SEQUENCE.fullmatch(text):
        return "".join(re.findall("[012]", text))
    if _INDEX.fullmatch(text) and int(text) < len(OPERATIONS) ** LAYERS:
        row = int(text)
        return "".join(str(row // 3**place % 3) for place in reversed(range(LAYERS)))
    validate(text)
    return text


def stages(architecture: str) -> tuple[str, ...]:
    """The digits of each stage."""
    validate(architecture)
    ends = itertools.accumulate(STAGES)
    return tuple(architecture[end - size : end] for size, end in zip(STAGES, ends, strict=True))


def canonical(architecture: str) -> str:
    """Identities moved to the end of their stage, but for the one that is a convolution."""
    return "".join(_moved(stage) for stage in stages(architecture))


def _moved(stage: str) -> str:
    first, rest = stage[0], stage[1:].replace("0", "")
    return (first + rest).ljust(len(stage), "0")


def enumerate_all() -> Iterator[str]:
    """All 6,561 strings, in the order of the published table."""
    return map("".join, itertools.product(OPERATIONS, repeat=LAYERS))


def canonical_stages(length: int) -> Sequence[str]:
    """The stages of a length that stand for themselves."""
    return [
        stage
        for stage in map("".join, itertools.product(OPERATIONS, repeat=length))
        if _moved(stage) == stage
    ]
