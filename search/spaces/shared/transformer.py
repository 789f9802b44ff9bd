"""Encoder blocks of vision transformers (Dosovitskiy et al. 2021) as sizes, and their cost.

Attention and a perceptron, each after a LayerNorm and added to its input. `transformer_modules` has
the modules.
"""

from dataclasses import dataclass

from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.spaces.shared.layer_costs import convolution, linear, normalisation, total

RELATIVE_REACH = 14
"""Offsets beyond it share their entry of a table of relative positions."""
TABLE_ROWS = 2 * RELATIVE_REACH + 2
"""One for each offset, and one for pairs with the class token."""
TABLES = 4
"""Keys and values, vertical and horizontal."""


@dataclass(frozen=True, slots=True)
class EncoderBlock:
    """The sizes of a block, and the options of its attention."""

    width: int
    heads: int
    head_width: int
    hidden: int
    """Of the perceptron."""
    qkv_bias: bool = True
    relative: bool = False
    """Whether keys and values have tables of relative positions (Wu et al. 2021, iRPE)."""

    @property
    def inner(self) -> int:
        """Channels of the queries: all heads side by side."""
        return self.heads * self.head_width


def cost(block: EncoderBlock, tokens: int) -> Cost:
    """The cost of a block that reads so many tokens, the class token among them."""
    products = 4 if block.relative else 2
    parts = [
        normalisation(block.width),
        _projection(block, tokens),
        Cost(0, products * tokens**2 * block.inner, 0),
        linear(block.inner, block.width, tokens),
        normalisation(block.width),
        linear(block.width, block.hidden, tokens),
        linear(block.hidden, block.width, tokens),
    ]
    if block.relative:
        parts.append(Cost(TABLES, 0, TABLES * TABLE_ROWS * block.head_width))
    return total(parts)


def patches_cost(width: int, patch: int, pixels: int) -> Cost:
    """The convolution that reads patches of an image."""
    return convolution(3, width, patch, pixels, bias=True)


def embeddings_cost(*scalars: int) -> Cost:
    """Tensors that are added to tokens, or are tokens."""
    return Cost(len(scalars), 0, sum(scalars))


def _projection(block: EncoderBlock, tokens: int) -> Cost:
    """Queries, keys and values."""
    full = linear(block.width, 3 * block.inner, tokens)
    if block.qkv_bias:
        return full
    return Cost(full.layers - 1, full.flops, full.parameters - 3 * block.inner)
