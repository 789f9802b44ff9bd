"""Structure strings of the MobileNetV2 space: blocks written one after the other.

``SuperConvK3BNRELU(in,out,stride,sub)`` is `sub` convolutions, ``SuperResIDWE6K3(in,out,stride,
bottleneck,sub)`` is `sub` pairs of inverted residuals with expansion 6 and 3x3 depthwise kernels.
The strings are those of Zen-NAS, ZiCo, AZ-NAS and VKDNW (Section 4.2, "MobileNetV2 search space").
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from vkdnw.search.spaces.search_space import ArchitectureError

IMAGE_CHANNELS = 3

CONVOLUTION_KERNELS = (1, 3, 5, 7)
EXPANSIONS = (1, 2, 4, 6)
DEPTHWISE_KERNELS = (3, 5, 7)


class Convolutions(NamedTuple):
    """``sublayers`` times convolution, BatchNorm, ReLU; the first one has the stride."""

    kernel: int
    inputs: int
    outputs: int
    stride: int
    sublayers: int

    def __str__(self) -> str:
        return (
            f"SuperConvK{self.kernel}BNRELU"
            f"({self.inputs},{self.outputs},{self.stride},{self.sublayers})"
        )


class InvertedResiduals(NamedTuple):
    """``sublayers`` times a pair of inverted residuals; the very first one has the stride.

    The first of a pair leads to ``bottleneck`` channels, the second to ``outputs``; each expands to
    ``expansion`` times the channels that it leads to.
    """

    expansion: int
    kernel: int
    inputs: int
    outputs: int
    stride: int
    bottleneck: int
    sublayers: int

    def __str__(self) -> str:
        return (
            f"SuperResIDWE{self.expansion}K{self.kernel}"
            f"({self.inputs},{self.outputs},{self.stride},{self.bottleneck},{self.sublayers})"
        )


Block = Convolutions | InvertedResiduals

_BLOCKS = re.compile(r"[A-Za-z0-9]*\([^()]*\)")
"""Where one block ends and the next begins."""
_BLOCK = re.compile(r"(?P<kind>[A-Za-z0-9]*)\((?:(?P<name>[^|()]*)\|)?(?P<sizes>[^()]*)\)")
_CONVOLUTIONS = re.compile(r"SuperConvK(\d+)BNRELU")
_RESIDUALS = re.compile(r"SuperResIDWE(\d+)K(\d+)")
_PLAIN_RESIDUALS = re.compile(
    r"SuperResIDWE([{}])K([{}])\({size},{size},{size},{size},{size}\)".format(
        "".join(map(str, EXPANSIONS)), "".join(map(str, DEPTHWISE_KERNELS)), size="([1-9][0-9]{,8})"
    )
)
"""Inverted residuals as `format` writes them: most structures are made of them."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_CONVOLUTION_SIZES = ("in", "out", "stride", "sub")
_RESIDUAL_SIZES = ("in", "out", "stride", "bottleneck", "sub")
_FORMS = (
    "SuperConvK{K}BNRELU(in,out,stride,sub) or SuperResIDWE{E}K{K}(in,out,stride,bottleneck,sub)"
)

INITIAL = (
    "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K3(8,32,2,8,1)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE6K3(48,96,2,48,1)SuperResIDWE6K3(96,128,2,96,1)SuperConvK1BNRELU(128,2048,1,1)"
)
"""The structure that the paper's search starts from."""


@lru_cache(maxsize=4096)  # a population's parents are parsed again and again
def parse(structure: str) -> tuple[Block, ...]:
    """The blocks of a structure.

    A name before the sizes, ``(name|in,out,...)``, is accepted and dropped.

    Raises:
        ArchitectureError: names the block (from 0) and the position (in characters, from 0) of the
            first thing that is wrong, also where the channels of two blocks do not match.
    """
    if not isinstance(structure, str):
        raise ArchitectureError(
            f"a structure is a string of blocks {_FORMS}, not {type(structure).__name__}: "
            f"{structure!r}"
        )
    texts = _BLOCKS.findall(structure)
    if "".join(texts) != structure or not texts:
        raise _error(structure)
    try:
        blocks = tuple(map(_parse_block, texts))
    except ArchitectureError:
        raise _error(structure) from None
    channels = IMAGE_CHANNELS
    for block in blocks:
        if block.inputs != channels:
            raise _error(structure)
        channels = block.outputs
    return blocks


def _error(structure: str) -> ArchitectureError:
    """Says where a structure that is none goes wrong first."""
    blocks: list[Block] = []
    position = 0
    while position < len(structure) or not blocks:
        match = _BLOCKS.match(structure, position)
        where = f"block {len(blocks)} at position {position} of {structure!r}"
        try:
            if match is None:
                raise ArchitectureError(f"expected {_FORMS}")
            block = _parse_block(match[0])
            _check_inputs(block, blocks[-1] if blocks else None, len(blocks))
        except ArchitectureError as error:
            return ArchitectureError(f"{where}: {error}")
        blocks.append(block)
        position = match.end()
    raise AssertionError(f"{structure!r} is a structure")


@lru_cache(maxsize=65536)  # a child has most of its blocks from its parent
def _parse_block(text: str) -> Block:
    """A block that `_BLOCK` has matched."""
    if plain := _PLAIN_RESIDUALS.fullmatch(text):
        return InvertedResiduals(*map(int, plain.groups()))
    match = _BLOCK.fullmatch(text)
    assert match is not None
    kind = match["kind"]
    if found := _CONVOLUTIONS.fullmatch(kind):
        kernel = _choice("kernel", found[1], CONVOLUTION_KERNELS)
        return Convolutions(kernel, *_sizes(match["sizes"], _CONVOLUTION_SIZES))
    if found := _RESIDUALS.fullmatch(kind):
        expansion = _choice("expansion", found[1], EXPANSIONS)
        kernel = _choice("kernel", found[2], DEPTHWISE_KERNELS)
        return InvertedResiduals(expansion, kernel, *_sizes(match["sizes"], _RESIDUAL_SIZES))
    raise ArchitectureError(f"unknown block {kind!r}; expected {_FORMS}")


def _choice(field: str, text: str, known: Sequence[int]) -> int:
    if text not in map(str, known):
        raise ArchitectureError(f"{field} {text} is not among {', '.join(map(str, known))}")
    return int(text)


def _sizes(text: str, names: Sequence[str]) -> list[int]:
    entries = text.split(",")
    if len(entries) != len(names):
        raise ArchitectureError(
            f"{len(entries)} size(s), not the {len(names)} of ({','.join(names)})"
        )
    sizes = []
    for name, entry in zip(names, entries, strict=True):
        if _NUMBER.fullmatch(entry) is None or int(entry) < 1:
            raise ArchitectureError(f"{name} must be a positive integer, got {entry!r}")
        sizes.append(int(entry))
    return sizes


def _check_inputs(block: Block, before: Block | None, number: int) -> None:
    """Raise unless a block's input channels are the output channels of the one before it."""
    channels = IMAGE_CHANNELS if before is None else before.outputs
    if block.inputs != channels:
        giver = "an image has" if before is None else f"block {number - 1} gives"
        raise ArchitectureError(f"it reads {block.inputs} channels where {giver} {channels}")


def format(blocks: Sequence[Block]) -> str:  # noqa: A001 - the counterpart of parse
    """The structure string of blocks, in the one way of writing it: `parse` undoes it.

    Raises `ArchitectureError`, as `parse` does, for blocks that do not make a network.
    """
    structure = "".join(map(str, blocks))
    parse(structure)
    return structure


def validate(structure: str) -> None:
    """Raise `ArchitectureError`, as `parse` does, unless ``structure`` is one."""
    parse(structure)


def canonical(structure: str) -> str:
    """The structure without the names that its blocks may carry. Raises `ArchitectureError`."""
    return format(parse(structure))
