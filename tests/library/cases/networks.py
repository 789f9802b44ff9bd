"""Networks as they are built elsewhere: residual, pre-activation, windows, attention."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.library.cases.case import Case, Forward, images, normal
from tests.library.cases.sequences import ATTENTION_WEIGHTS


class BasicBlock(nn.Module):
    """The residual block of torchvision: in-place ReLU, one module used twice, ``out += x``."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def residual_network(channels: int = 4) -> nn.Module:
    """Stem, two blocks, pooling, classifier; channels of 16 and up take every fused path."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        BasicBlock(channels, channels),
        BasicBlock(channels, 2 * channels, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * channels, 3),
    )


class PreActivation(nn.Module):
    """ReLU, convolution, BatchNorm, as in NAS-Bench-201, twice, around a skip connection."""

    def __init__(self, channels: int, inplace: bool = False, bias: bool = False) -> None:
        super().__init__()
        self.first = self._part(channels, inplace, bias)
        self.second = self._part(channels, inplace, bias)

    @staticmethod
    def _part(channels: int, inplace: bool, bias: bool) -> nn.Sequential:
        return nn.Sequential(
            nn.ReLU(inplace=inplace),
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def pre_activation_network(channels: int, inplace: bool = False, bias: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        PreActivation(channels, inplace, bias),
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        PreActivation(channels, inplace, bias),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 3),
    )


class WindowAttention(nn.Module):
    """Swin's attention: heads within 2x2 windows, a table of relative positions, a cyclic shift."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.table = nn.Parameter(torch.zeros(9, heads))
        at = torch.cartesian_prod(torch.arange(2), torch.arange(2))
        offset = at[:, None] - at[None] + 1  # [4, 4, 2]
        self.register_buffer("index", 3 * offset[..., 0] + offset[..., 1])

    def forward(self, x: Tensor) -> Tensor:  # [B, H, W, D]
        b, h, w, d = x.shape
        y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(b, h // 2, 2, w // 2, 2, d).transpose(2, 3).reshape(-1, 4, d)
        q, k, v = self.qkv(y).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.flatten()].view(4, 4, -1).permute(2, 0, 1)
        y = ((q @ k.mT + bias).softmax(-1) @ v).transpose(1, 2).flatten(2)  # [B windows, 4, D]
        y = self.proj(y).view(b, h // 2, w // 2, 2, 2, d).transpose(2, 3).reshape(b, h, w, d)
        return x + torch.roll(y, (self.shift, self.shift), (1, 2))


def window_transformer() -> nn.Module:
    """Patches, two window attentions, mean, classifier."""

    def run(m: Any, images: Tensor) -> Tensor:
        x = m.patches(images).permute(0, 2, 3, 1)  # [B, H, W, D]
        return m.head(m.norm(m.shifted(m.plain(x))).mean((1, 2)))

    return Forward(
        run,
        patches=nn.Conv2d(3, 4, 2, stride=2),
        plain=WindowAttention(4, 2, 0),
        shifted=WindowAttention(4, 2, 1),
        norm=nn.LayerNorm(4),
        head=nn.Linear(4, 3),
    )


class VisionTransformer(nn.Module):
    """Patches, a class token and positions as bare parameters, torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 3, stride=3)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.positions = nn.Parameter(torch.zeros(1, 5, 4))
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).mT  # [B, T, D]
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        return self.head(self.encoder(x)[:, 0])


NETWORKS = [
    Case("residual network", residual_network, images, reference="loop"),
    Case(
        "residual network, 16 channels",
        partial(residual_network, 16),
        images,
        reference="loop",
    ),
    *(
        Case(
            f"pre-activation network, inplace={inplace}, bias={bias}",
            partial(pre_activation_network, 4, inplace, bias),
            images,
            reference="loop",
        )
        for inplace in (False, True)
        for bias in (False, True)
    ),
    Case(
        "window transformer",
        window_transformer,
        normal(5, 3, 8, 8),
        fallback=("plain.table", "shifted.table"),
    ),
    Case(
        "vision transformer",
        VisionTransformer,
        images,
        fallback=(
            "token",
            "positions",
            *(f"encoder.layers.0.self_attn.{name}" for name in ATTENTION_WEIGHTS),
        ),
    ),
]
