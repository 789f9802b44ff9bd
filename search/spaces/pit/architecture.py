"""Architecture strings of the PiT space: ``16:6:2-8-4:2-4-4``.

Width of a head, ratio of the perceptrons, blocks of the three stages, heads of the three stages.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError

FORM = "HEAD_WIDTH:RATIO:DEPTH-DEPTH-DEPTH:HEADS-HEADS-HEADS"

_DEPTHS = ("1-6-6", "1-8-4", "2-4-6", "2-6-4", "2-6-6", "2-8-2", "2-8-4", "3-4-6", "3-6-4", "3-8-2")
_HEADS = ("2-2-2", "2-2-4", "2-2-8", "2-4-4", "2-4-8", "2-8-8", "4-4-4", "4-4-8", "4-8-8", "8-8-8")
MENUS: Mapping[str, tuple[str, ...]] = {
    "head width": ("16", "24", "32", "40"),
    "ratio": ("2", "4", "6", "8"),
    "depths": _DEPTHS,
    "heads": _HEADS,
}
"""The choices of each field, as the benchmark's data and search have them."""


class Architecture(NamedTuple):
    """The choices of a string."""

    head_width: int
    ratio: int
    depths: tuple[int, ...]
    """Blocks of each stage."""
    heads: tuple[int, ...]
    """Heads in each stage, whose width is as many heads' widths."""


def fields(architecture: str) -> list[str]:
    """The four fields. Raises `ArchitectureError`, which names the field."""
    if not isinstance(architecture, str):
        raise ArchitectureError(
            f"an architecture is a string {FORM}, not {type(architecture).__name__}: "
            f"{architecture!r}"
        )
    found = architecture.split(":")
    if len(found) != len(MENUS):
        raise ArchitectureError(f"{architecture!r} has not the form {FORM}")
    for (field, menu), text in zip(MENUS.items(), found, strict=True):
        if text not in menu:
            raise ArchitectureError(
                f"{architecture!r}: {field} {text!r} not among {', '.join(menu)}"
            )
    return found


def read(architecture: str) -> Architecture:
    """The choices of an architecture string. Raises `ArchitectureError`."""
    head_width, ratio, depths, heads = fields(architecture)
    return Architecture(int(head_width), int(ratio), _numbers(depths), _numbers(heads))


def enumerate_all() -> Iterator[str]:
    """All 1,600 strings, the first field slowest."""
    return map(":".join, itertools.product(*MENUS.values()))


def parse(text: str) -> str:
    """The string of an architecture: itself, or Auto-Prox's JSON,
    ``{"base_dim", "mlp_ratio", "depth", "num_heads"}``. Raises `ArchitectureError`."""
    text = str(text).strip()
    if text.startswith("{"):
        text = _from_json(text)
    fields(text)
    return text


def _from_json(text: str) -> str:
    try:
        found: Mapping[str, Any] = json.loads(text)
        lists = (_joined(found[name]) for name in ("depth", "num_heads"))
        return ":".join([f"{found['base_dim']:g}", f"{found['mlp_ratio']:g}", *lists])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchitectureError(f"{text!r} is no published form of a network: {error}") from error


def _joined(numbers: Sequence[int]) -> str:
    return "-".join(map(str, numbers))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("-")))
