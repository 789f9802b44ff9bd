"""The stages of a PiT and their cost."""

from collections.abc import Sequence
from typing import NamedTuple

from vkdnw.search.spaces.pit.architecture import Architecture
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared import transformer
from vkdnw.search.spaces.shared.layer_costs import (
    convolution,
    linear,
    normalisation,
    strided,
    times,
    total,
)
from vkdnw.search.spaces.shared.transformer import EncoderBlock, embeddings_cost, patches_cost

PATCH, STRIDE = 16, 8
"""Patches overlap."""


class Stage(NamedTuple):
    """Equal blocks on a grid of tokens."""

    block: EncoderBlock
    depth: int
    side: int


def stages_of(architecture: Architecture, resolution: int) -> list[Stage]:
    """The three stages; each pooling between them halves the grid."""
    side = (resolution - PATCH) // STRIDE + 1
    made = []
    for depth, heads in zip(architecture.depths, architecture.heads, strict=True):
        width = architecture.head_width * heads
        block = EncoderBlock(width, heads, architecture.head_width, width * architecture.ratio)
        made.append(Stage(block, depth, side))
        side = strided(side, 2)
    return made


def cost(stages: Sequence[Stage], classes: int) -> Cost:
    """Layers, multiply-adds and parameters, for one image."""
    first, last = stages[0], stages[-1].block.width
    width, pixels = first.block.width, first.side**2
    return total(
        [
            embeddings_cost(width * pixels, width),
            patches_cost(width, PATCH, pixels),
            *(
                times(stage.depth, transformer.cost(stage.block, stage.side**2 + 1))
                for stage in stages
            ),
            *map(_pooling_cost, stages[:-1], stages[1:]),
            normalisation(last),
            linear(last, classes),
        ]
    )


def _pooling_cost(before: Stage, after: Stage) -> Cost:
    inputs, outputs = before.block.width, after.block.width
    patches = convolution(inputs, outputs, 3, after.side**2, groups=inputs, bias=True)
    return total([patches, linear(inputs, outputs)])
