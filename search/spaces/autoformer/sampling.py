"""Drawing AutoFormer architectures, and their neighbours."""

from random import Random
from typing import Literal, TypeVar

from vkdnw.search.spaces.autoformer.architecture import Architecture, Block, Menu

Choice = TypeVar("Choice")
Draw = Literal["uniform", "published"]
DRAWS: tuple[Draw, ...] = ("uniform", "published")

DEPTH_OR_WIDTH = 0.4
"""Chance that a mutation draws the depth anew, and as much that it draws the width."""
RATIO_OR_HEADS = 0.2
"""Chance that it draws a block's ratio anew, and as much for the block's heads."""


def sample(menu: Menu, random: Random, draw: Draw) -> Architecture:
    """Uniform over all architectures; or, as in the released searches, with a uniform depth.

    There are many more deep architectures than shallow ones, so the two differ.
    """
    blocks_of_a_kind = len(menu.heads) * len(menu.ratios)
    weights = [1 if draw == "published" else blocks_of_a_kind**depth for depth in menu.depths]
    (depth,) = random.choices(menu.depths, weights)
    ratios = [random.choice(menu.ratios) for _ in range(depth)]
    heads = [random.choice(menu.heads) for _ in range(depth)]
    return Architecture(random.choice(menu.widths), tuple(map(Block, heads, ratios)))


def mutate(parent: Architecture, menu: Menu, random: Random) -> Architecture:
    """The mutation of AutoFormer's search, repeated until the child differs."""
    while True:
        child = _mutated(parent, menu, random)
        if child != parent:
            return child


def _mutated(parent: Architecture, menu: Menu, random: Random) -> Architecture:
    blocks = list(parent.blocks)
    if random.random() < DEPTH_OR_WIDTH:
        depth = random.choice(menu.depths)
        while len(blocks) < depth:
            blocks.append(Block(random.choice(menu.heads), random.choice(menu.ratios)))
        del blocks[depth:]
    ratios = [_redrawn(block.ratio, menu.ratios, random) for block in blocks]
    heads = [_redrawn(block.heads, menu.heads, random) for block in blocks]
    width = parent.width
    if random.random() < DEPTH_OR_WIDTH:
        width = random.choice(menu.widths)
    return Architecture(width, tuple(map(Block, heads, ratios)))


def _redrawn(choice: Choice, menu: tuple[Choice, ...], random: Random) -> Choice:
    return random.choice(menu) if random.random() < RATIO_OR_HEADS else choice
