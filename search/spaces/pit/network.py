"""The networks of the PiT space as PyTorch modules.

Parameters are named ``positions``, ``class_token``, ``patches.weight``,
``stages.1.3.attention.qkv.weight``, ``poolings.0.patches.weight``, ``norm.weight``, ``head.bias``,
in the published order: all blocks come before the poolings.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from vkdnw.search.spaces.pit.stages import PATCH, STRIDE, Stage
from vkdnw.search.spaces.shared.transformer_modules import (
    EncoderBlockModule,
    embedding,
    with_class_token,
)

EPS = 1e-6


class PiTNetwork(nn.Module):
    """Images ``[B, 3, resolution, resolution]`` to logits ``[B, classes]``; in train mode.

    The logits are read from the class token. Weights are PyTorch's defaults, positions and token
    normal with deviation 0.02, as published. No dropout, no stochastic depth.
    """

    def __init__(self, stages: Sequence[Stage], classes: int) -> None:
        super().__init__()
        width, side = stages[0].block.width, stages[0].side
        self.positions = embedding(1, width, side, side)
        self.class_token = embedding(1, 1, width)
        self.patches = nn.Conv2d(3, width, PATCH, stride=STRIDE)
        self.stages = nn.ModuleList(map(_blocks, stages))
        widths = [stage.block.width for stage in stages]
        self.poolings = nn.ModuleList(map(Pooling, widths[:-1], widths[1:]))
        self.norm = nn.LayerNorm(widths[-1], eps=EPS)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        grid = self.patches(images) + self.positions  # [B, width, side, side]
        token = self.class_token  # [1, 1, width]
        for i, blocks in enumerate(self.stages):
            if i:
                token, grid = self.poolings[i - 1](token, grid)
            tokens = blocks(with_class_token(token, grid.flatten(2).transpose(1, 2)))
            token = tokens[:, :1]  # [B, 1, width]
            grid = tokens[:, 1:].transpose(1, 2).unflatten(2, grid.shape[2:])
        logits: Tensor = self.head(self.norm(token.squeeze(1)))
        return logits


class Pooling(nn.Module):
    """Half the grid, more channels: the patches by a convolution, the token by a linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, groups=inputs)
        self.token = nn.Linear(inputs, outputs)

    def forward(self, token: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        return self.token(token), self.patches(grid)


def _blocks(stage: Stage) -> nn.Sequential:
    blocks = (EncoderBlockModule(stage.block, stage.side, eps=EPS) for _ in range(stage.depth))
    return nn.Sequential(*blocks)
