"""The networks of the AutoFormer spaces as PyTorch modules.

Parameters are named ``positions``, ``class_token``, ``patches.weight``,
``blocks.3.attention.qkv.weight``, ``blocks.3.attention.key_positions.vertical``,
``blocks.3.mlp.fc1.bias``, ``norm.weight``, ``head.bias``, in the published order.
"""

from torch import Tensor, nn

from vkdnw.search.spaces.autoformer.architecture import Architecture
from vkdnw.search.spaces.autoformer.blocks import PATCH, Variant, blocks_of
from vkdnw.search.spaces.shared.transformer_modules import (
    EncoderBlockModule,
    embedding,
    initialise_linear,
    with_class_token,
)


class AutoFormerNetwork(nn.Module):
    """Images ``[B, 3, resolution, resolution]`` to logits ``[B, classes]``; in train mode.

    The logits are read from the mean of the patches' tokens; the class token only takes part in
    attention. Weights are the published ones: linear weights, positions and tokens normal with
    deviation 0.02, biases 0, the convolution PyTorch's own. No dropout, no stochastic depth.
    """

    def __init__(
        self, architecture: Architecture, variant: Variant, classes: int, resolution: int
    ) -> None:
        super().__init__()
        width, side = architecture.width, resolution // PATCH
        self.positions = embedding(1, side**2 + 1, width)
        self.class_token = embedding(1, 1, width)
        self.patches = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.blocks = nn.Sequential(
            *(
                EncoderBlockModule(
                    block, side, eps=variant.eps, attention_first=variant.attention_first
                )
                for block in blocks_of(architecture, variant)
            )
        )
        self.norm = nn.LayerNorm(width, eps=variant.eps)
        self.head = nn.Linear(width, classes)
        initialise_linear(self)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)  # [B, N, width]
        tokens = with_class_token(self.class_token, patches) + self.positions
        tokens = self.norm(self.blocks(tokens))
        logits: Tensor = self.head(tokens[:, 1:].mean(1))
        return logits
