"""The blocks of an architecture under each of the published networks, and their cost.

One encoding has been trained as different networks, so a table of accuracies goes with one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vkdnw.search.spaces.autoformer.architecture import Architecture
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared import transformer
from vkdnw.search.spaces.shared.layer_costs import linear, normalisation, total
from vkdnw.search.spaces.shared.transformer import (
    EncoderBlock,
    embeddings_cost,
    patches_cost,
)

Formula = Literal["exact", "released"]
FORMULAS: tuple[Formula, ...] = ("exact", "released")
Network = Literal["autoformer", "autoformer_absolute", "autoprox", "autoprox_supernet"]

PATCH = 16


@dataclass(frozen=True)
class Variant:
    """In which ways the networks of one encoding differ."""

    head_width: int | None
    """None: the width divided by the heads, so that heads change no size."""
    qkv_bias: bool
    relative: bool
    eps: float
    """Of the LayerNorms."""
    attention_first: bool
    """The order of parameters in a block."""


VARIANTS: Mapping[Network, Variant] = {
    "autoformer": Variant(64, qkv_bias=True, relative=True, eps=1e-5, attention_first=True),
    "autoformer_absolute": Variant(
        64, qkv_bias=True, relative=False, eps=1e-5, attention_first=True
    ),
    "autoprox": Variant(None, qkv_bias=True, relative=False, eps=1e-6, attention_first=False),
    "autoprox_supernet": Variant(
        64, qkv_bias=False, relative=False, eps=1e-5, attention_first=True
    ),
}
"""AutoFormer's subnet (top-1 of its supernet), the same without tables of relative positions,
Auto-Prox's network trained from scratch (`*_base_acc`, `*_kd_acc`), and that of Auto-Prox's own
supernet (`imagenet_super_acc`)."""


def blocks_of(architecture: Architecture, variant: Variant) -> list[EncoderBlock]:
    """The blocks in order."""
    width = architecture.width
    return [
        EncoderBlock(
            width,
            block.heads,
            variant.head_width or width // block.heads,
            architecture.hidden(block),
            variant.qkv_bias,
            variant.relative,
        )
        for block in architecture.blocks
    ]


def cost(architecture: Architecture, variant: Variant, classes: int, resolution: int) -> Cost:
    """Layers, multiply-adds and parameters, for one image."""
    width, patches = architecture.width, (resolution // PATCH) ** 2
    tokens = patches + 1
    blocks = blocks_of(architecture, variant)
    parts = [
        embeddings_cost(tokens * width, width),
        patches_cost(width, PATCH, patches),
        *(transformer.cost(block, tokens) for block in blocks),
        normalisation(width),
        linear(width, classes),
    ]
    return total(parts)


def released_flops(architecture: Architecture, classes: int, resolution: int) -> int:
    """FLOPs as AutoFormer's code counts them, which the tables of its accuracies have.

    It counts one token too many, the head for every token though it sees their mean, and relative
    positions at a fraction of their products. Halves are rounded down.
    """
    width, patches = architecture.width, (resolution // PATCH) ** 2
    tokens = patches + 2
    twice = 2 * width + 2 * 768 * patches * width + (patches + 1) * width
    for block in blocks_of(architecture, VARIANTS["autoformer"]):
        inner = block.inner
        twice += 2 * (2 * width * tokens + 4 * inner * width * tokens)
        twice += 4 * tokens**2 * inner
        twice += 57 * tokens**2 + tokens * inner
        twice += 4 * tokens * width * block.hidden
    return twice // 2 + (patches + 1) * width * classes
