"""Architecture strings of the AutoFormer spaces: ``192:4x4-3x3.5-...``.

The width, then heads and perceptron's ratio of every block.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vkdnw.search.spaces.search_space import ArchitectureError

FORM = "WIDTH:HEADSxRATIO-HEADSxRATIO-..."


@dataclass(frozen=True)
class Menu:
    """The choices of an architecture."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    ratios: tuple[str, ...]


TINY = Menu((192, 216, 240), (12, 13, 14), (3, 4), ("3.5", "4"))
SMALL = Menu((320, 384, 448), (12, 13, 14), (5, 6, 7), ("3", "3.5", "4"))
BASE = Menu((528, 576, 624), (14, 15, 16), (9, 10), ("3", "3.5", "4"))
WIDE_TINY = Menu(TINY.widths, TINY.depths, TINY.heads, ("3", "3.5", "4"))
"""Has the ratio of the published network, which the search's menu lacks."""
WIDE_BASE = Menu(BASE.widths, BASE.depths, (8, 9, 10), BASE.ratios)
"""Has the 8 heads that the released retraining accepts and the search does not."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block's choices."""

    heads: int
    ratio: str

    def __str__(self) -> str:
        return f"{self.heads}x{self.ratio}"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A width, and the blocks."""

    width: int
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"{self.width}:{'-'.join(map(str, self.blocks))}"

    def hidden(self, block: Block) -> int:
        """The width of a block's perceptron."""
        return int(self.width * float(block.ratio))


_BLOCK = re.compile(r"([0-9]+)x([0-9.]+)")
_TUPLE = re.compile(r"[\[(][0-9.,\s]*[\])]")


def read(architecture: str, menu: Menu) -> Architecture:
    """The choices of an architecture string. Raises `ArchitectureError`, which names the block."""
    if not isinstance(architecture, str):
        raise ArchitectureError(
            f"an architecture is a string {FORM}, not {type(architecture).__name__}: "
            f"{architecture!r}"
        )
    width, colon, rest = architecture.partition(":")
    if not colon:
        raise ArchitectureError(f"{architecture!r} has not the form {FORM}")
    _check(f"{architecture!r}: width", width, menu.widths)
    blocks = []
    for place, text in enumerate(rest.split("-")):
        where = f"block {place} of {architecture!r}"
        match = _BLOCK.fullmatch(text)
        if match is None:
            raise ArchitectureError(f"{where}: {text!r} has not the form HEADSxRATIO")
        _check(f"{where}: heads", match[1], menu.heads)
        _check(f"{where}: ratio", match[2], menu.ratios)
        blocks.append(Block(int(match[1]), match[2]))
    _check(f"{architecture!r}: number of blocks", str(len(blocks)), menu.depths)
    return Architecture(int(width), tuple(blocks))


def _check(field: str, text: str, menu: Sequence[object]) -> None:
    if text not in map(str, menu):
        raise ArchitectureError(f"{field} {text} is not among {', '.join(map(str, menu))}")


def parse(text: str, menu: Menu) -> str:
    """The string of an architecture in any of its notations:

    * itself;
    * AutoFormer's candidate, ``(depth, ratio, ..., heads, ..., width)``;
    * Auto-Prox's JSON, ``{"hidden_dim", "mlp_ratio", "depth", "num_heads"}``;
    * OoD-ViT-NAS's JSON, ``{"embed_dim", "mlp_ratio", "layer_num", "num_heads"}``.

    Raises `ArchitectureError`.
    """
    text = str(text).strip()
    if text.startswith("{"):
        text = _from_json(text)
    elif _TUPLE.fullmatch(text):
        text = _from_candidate(text)
    read(text, menu)
    return text


def _from_json(text: str) -> str:
    try:
        found: Mapping[str, Any] = json.loads(text)
        width = found["hidden_dim"] if "hidden_dim" in found else found["embed_dim"]
        depth = found["depth"] if "depth" in found else found["layer_num"]
        return _join(depth, width, found["num_heads"], found["mlp_ratio"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchitectureError(f"{text!r} is no published form of a network: {error}") from error


def _from_candidate(text: str) -> str:
    try:
        numbers = [float(number) for number in text[1:-1].split(",") if number.strip()]
        depth = int(numbers[0])
        if len(numbers) != 2 * depth + 2:
            raise ValueError(f"{len(numbers)} numbers, not {2 * depth + 2} for a depth of {depth}")
        ratios, heads, width = numbers[1 : depth + 1], numbers[depth + 1 : -1], numbers[-1]
        return _join(depth, width, heads, ratios)
    except (ValueError, IndexError) as error:
        raise ArchitectureError(
            f"{text!r} is no candidate (depth, ratio of each block, heads of each block, width): "
            f"{error}"
        ) from error


def _join(depth: int, width: Any, heads: Sequence[float], ratios: Sequence[float]) -> str:
    if isinstance(width, list):
        if len(set(width)) != 1:
            raise ValueError(f"blocks of different widths, {width}")
        width = width[0]
    if not depth == len(heads) == len(ratios):
        raise ValueError(f"depth {depth}, but {len(heads)} heads and {len(ratios)} ratios")
    blocks = (f"{h:g}x{r:g}" for h, r in zip(heads, ratios, strict=True))
    return f"{width:g}:{'-'.join(blocks)}"
