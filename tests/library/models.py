"""Small models, each with one habit of real code that per-sample differentiation trips over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Forward(nn.Module):
    """Named parts, and a forward written where the model is used: ``forward(parts, *inputs)``."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


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


class Router(nn.Module):
    """A mixture of experts: each sample goes to the one expert its gate prefers."""

    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.gate = nn.Linear(4, experts)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            mine = chosen == number
            if mine.any():
                out[mine] = weight[mine, None] * expert(x[mine])
        return out


class EmptyRouter(Router):
    """The same, calling experts with no samples as well."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(1)
        out = x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            out[chosen == number] = expert(x[chosen == number])
        return out


class SortedSequences(nn.Module):
    """Recurrent code of old: samples sorted by length on the way in, and back on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        order = lengths.argsort(descending=True)
        x = torch.tanh(self.mix(self.embedding(tokens[order])))
        inside = torch.arange(tokens.shape[1]) < lengths[order, None]
        pooled = (x * inside[..., None]).sum(1)
        return self.head(pooled[order.argsort()])


class SortedFeatures(nn.Module):
    """Samples in the order of a feature while they go through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        y = torch.tanh(self.mix(x[order]))
        return self.head(torch.empty_like(y).index_copy(0, order, y))


class ExtraBranch(nn.Module):
    """Uses a layer's weight a second time, as a function, for some samples only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.layer(x))
        extra = x[:, 0] > 1.0
        if extra.any():
            y = torch.where(extra[:, None], F.linear(y, self.layer.weight), y)
        return self.head(y)


class DroppedCall(nn.Module):
    """Calls a layer, and for some samples throws the result away for a functional one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if (x[:, 0] > 1.0).any():
            y = F.linear(x, 2 * self.layer.weight, self.layer.bias).where(
                x[:, :1] > 1.0, F.linear(x, self.layer.weight, self.layer.bias)
            )
        return self.head(torch.tanh(y))


class Stateful(nn.Module):
    """Hands features from one part of its forward to another through an attribute, and dawdles."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.features = torch.tanh(self.trunk(x))
        time.sleep(0.005)
        return self.head(self.features)


class Caching(nn.Module):
    """Registers and reassigns buffers while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("unset", None)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.mean = x.detach().mean(0)
        self.unset = torch.ones(1)
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(4, dtype=x.dtype), persistent=False)
        return self.layer(x * self.late)


@dataclass
class Answer:
    """What some models return."""

    logits: Tensor
    features: Tensor
