"""Encoder blocks of vision transformers as modules; see `transformer` for the sizes.

Every layer is a module that is called exactly once, and nothing works in place, so forward hooks
see all.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vkdnw.search.spaces.shared.transformer import RELATIVE_REACH, TABLE_ROWS, EncoderBlock

INITIAL_STD = 0.02


class EncoderBlockModule(nn.Module):
    """``[B, tokens, width]`` to the same shape.

    Both sums pass through a module, so that they can be named as features. With ``attention_first``
    the attention's parameters come before the LayerNorms', as in AutoFormer.
    """

    def __init__(
        self, block: EncoderBlock, side: int, *, eps: float, attention_first: bool = False
    ) -> None:
        super().__init__()
        if attention_first:
            self.attention = Attention(block, side)
        self.norm1 = nn.LayerNorm(block.width, eps=eps)
        if not attention_first:
            self.attention = Attention(block, side)
        self.after_attention = nn.Identity()
        self.norm2 = nn.LayerNorm(block.width, eps=eps)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(block.width, block.hidden),
                gelu=nn.GELU(),
                fc2=nn.Linear(block.hidden, block.width),
            )
        )
        self.after_mlp = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.after_attention(x + self.attention(self.norm1(x)))
        summed: Tensor = self.after_mlp(x + self.mlp(self.norm2(x)))
        return summed


class Attention(nn.Module):
    """Attention among all tokens, of which the first is the class token.

    ``side`` is that of the square grid of the other tokens; only relative positions need it.
    """

    def __init__(self, block: EncoderBlock, side: int) -> None:
        super().__init__()
        self.heads, self.inner = block.heads, block.inner
        self.scale = 1 / math.sqrt(block.head_width)
        self.qkv = nn.Linear(block.width, 3 * block.inner, bias=block.qkv_bias)
        self.key_positions = RelativePositions(block.head_width, side) if block.relative else None
        self.value_positions = RelativePositions(block.head_width, side) if block.relative else None
        self.softmax = nn.Softmax(dim=-1)
        self.proj = nn.Linear(block.inner, block.width)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [B, L, 3, h, d]
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, h, L, d]
        scores = q @ k.transpose(-2, -1)  # [B, h, L, L]
        if self.key_positions is not None:
            scores = scores + torch.einsum("bhid,ijd->bhij", q, self.key_positions())
        weights = self.softmax(self.scale * scores)
        mixed = weights @ v  # [B, h, L, d]
        if self.value_positions is not None:
            mixed = mixed + torch.einsum("bhij,ijd->bhid", weights, self.value_positions())
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class RelativePositions(nn.Module):
    """A vector for each pair of tokens, ``[L, L, d]``: query first, key second.

    It is the sum of an entry for how far the key is below the query and one for how far to the
    right; pairs with the class token have the entries 0.
    """

    vertical_index: Tensor
    horizontal_index: Tensor

    def __init__(self, head_width: int, side: int) -> None:
        super().__init__()
        self.vertical = nn.Parameter(torch.empty(TABLE_ROWS, head_width))
        self.horizontal = nn.Parameter(torch.empty(TABLE_ROWS, head_width))
        place = torch.arange(side**2)
        for name, coordinate in (("vertical", place // side), ("horizontal", place % side)):
            self.register_buffer(f"{name}_index", _pair_index(coordinate), persistent=False)
        for table in (self.vertical, self.horizontal):
            nn.init.normal_(table, std=INITIAL_STD)

    def forward(self) -> Tensor:
        return self.vertical[self.vertical_index] + self.horizontal[self.horizontal_index]


def _pair_index(coordinate: Tensor) -> Tensor:
    """The entries of all pairs of tokens, along one direction of the grid."""
    offset = coordinate[None, :] - coordinate[:, None]  # key minus query
    reached = offset.clamp(-RELATIVE_REACH, RELATIVE_REACH) + RELATIVE_REACH + 1
    return nn.functional.pad(reached, (1, 0, 1, 0))  # the class token's row and column


def with_class_token(token: Tensor, patches: Tensor) -> Tensor:
    """A class token ``[1 or B, 1, width]`` before every image's patches ``[B, N, width]``."""
    return torch.cat([token.expand(patches.shape[0], -1, -1), patches], dim=1)


def initialise_linear(model: nn.Module) -> None:
    """Linear weights normal with deviation 0.02, their biases 0, as transformers begin."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=INITIAL_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def embedding(*shape: int) -> nn.Parameter:
    """Positions or tokens, normal with deviation 0.02."""
    return nn.Parameter(torch.randn(shape) * INITIAL_STD)


def features(blocks: Iterable[str]) -> tuple[str, ...]:
    """The sums after attention and after the perceptron of the blocks with these names."""
    return tuple(f"{name}.{sum_}" for name in blocks for sum_ in ("after_attention", "after_mlp"))
