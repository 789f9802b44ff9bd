"""Neighbours of a structure, and structures drawn at random.

Drawn directly: a type, a width, a depth and a bottleneck, in constant time. The authors' search
lists and sorts the thousands of strings that a block may be replaced with, to draw one of them.
"""

from collections.abc import Sequence
from random import Random
from typing import Literal

from vkdnw.search.spaces.mobilenetv2.menus import (
    RELEASED_WEIGHTS,
    TYPES,
    depths,
    is_fixed,
    widths,
)
from vkdnw.search.spaces.mobilenetv2.structure import (
    INITIAL,
    Block,
    Convolutions,
    InvertedResiduals,
    format,  # noqa: A004 - the counterpart of parse
    parse,
)

Draw = Literal["uniform", "released"]
"""Where mutations fall: `uniform` over the blocks that can change and over a block's replacements,
or as in the `released` code, over all blocks (the final one never changes) and with small kernels
and expansions up to six times likelier than large ones."""
DRAWS: tuple[Draw, ...] = ("uniform", "released")

MAX_SUBLAYERS = 5
"""A longer block of inverted residuals is split."""
SPLIT = 3
"""Sub-layers of the first part of a split block."""
SAMPLE_ROUNDS = 3
"""How often `sample` replaces every block: widths then lie within 2.5^3 of the initial ones."""


def mutate(structure: str, random: Random, replacements: int = 2, draw: Draw = "uniform") -> str:
    """Replace ``replacements`` blocks drawn with repetition, a block drawn twice only once.

    The blocks behind a replaced one read its new width. Raises `ArchitectureError`.
    """
    blocks = list(parse(structure))
    places = [i for i, block in enumerate(blocks) if draw == "released" or not is_fixed(block)]
    if not places:
        return structure
    for place in dict.fromkeys(random.choice(places) for _ in range(replacements)):
        blocks[place] = _replacement(blocks[place], random, draw)
    return format(split(_connected(blocks)))


def sample(random: Random, draw: Draw = "uniform") -> str:
    """The initial structure with every block replaced, `SAMPLE_ROUNDS` times over.

    A structure drawn without regard to any score, and of a bounded size: the baseline of a search.
    """
    blocks: Sequence[Block] = parse(INITIAL)
    for _ in range(SAMPLE_ROUNDS):
        blocks = [_replacement(block, random, draw) for block in blocks]
    return format(split(_connected(blocks)))


def split(blocks: Sequence[Block]) -> list[Block]:
    """Cut inverted residuals of more than five sub-layers into blocks of three and the rest."""
    parts: list[Block] = []
    for block in blocks:
        while isinstance(block, InvertedResiduals) and block.sublayers > MAX_SUBLAYERS:
            parts.append(block._replace(sublayers=SPLIT))
            block = block._replace(
                inputs=block.outputs, stride=1, sublayers=block.sublayers - SPLIT
            )
        parts.append(block)
    return parts


def _replacement(block: Block, random: Random, draw: Draw) -> Block:
    if isinstance(block, Convolutions):
        outputs = block.outputs if is_fixed(block) else _one_of(widths(block.outputs), random)
        return Convolutions(block.kernel, block.inputs, outputs, block.stride, sublayers=1)
    if draw == "released":
        ((expansion, kernel),) = random.choices(TYPES, RELEASED_WEIGHTS)
    else:  # as `choices` draws without weights, at a third of its time
        expansion, kernel = TYPES[int(random.random() * len(TYPES))]
    _, _, inputs, outputs, stride, bottleneck, sublayers = block
    outputs = _one_of(widths(outputs), random)
    bottleneck = _one_of(widths(bottleneck), random)
    sublayers = _one_of(depths(sublayers), random)
    return InvertedResiduals(expansion, kernel, inputs, outputs, stride, bottleneck, sublayers)


def _one_of(values: Sequence[int], random: Random) -> int:
    """What `random.choice` draws, with fewer calls: an evolution draws dozens for each child."""
    count = len(values)
    bits = count.bit_length()
    while (place := random.getrandbits(bits)) >= count:
        pass
    return values[place]


def _connected(blocks: Sequence[Block]) -> list[Block]:
    """The blocks, each with the output channels of the one before it as its input channels."""
    connected = [blocks[0]]
    for block in blocks[1:]:
        inputs = connected[-1].outputs
        connected.append(block if block.inputs == inputs else block._replace(inputs=inputs))
    return connected
