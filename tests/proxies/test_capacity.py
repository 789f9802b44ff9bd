"""Capacity against sums written out, layer by layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw import proxies
from vkdnw.proxies.flop_count import forward_products


def layer(positions: float, fan_in: float) -> float:
    return positions**0.3 * fan_in**0.5


def test_convolutions_and_linear_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 8 x 8 pixels, 27 weights an output
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # depthwise, 4 x 4 pixels
        nn.Conv2d(8, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    expected = layer(64, 27) + layer(16, 9) + layer(16, 8) + layer(1, 16)
    found = proxies.capacity(model, torch.randn(4, 3, 8, 8))
    assert found.value == pytest.approx(expected, rel=1e-12)


class OneHead(nn.Module):
    """A classifier of tokens ``[B, T, D]`` by self-attention with one head."""

    def __init__(self, width: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.qkv, self.head = nn.Linear(width, 3 * width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        mixed = F.softmax(q @ k.transpose(1, 2), dim=-1) @ v
        out: Tensor = self.head(mixed.mean(1))
        return out


def test_products_of_attention_count_as_layers() -> None:
    tokens, width = 5, 6
    expected = layer(tokens, width) + layer(tokens, width) + layer(tokens, tokens) + layer(1, width)
    found = proxies.capacity(OneHead(), torch.randn(2, tokens, width))
    assert found.value == pytest.approx(expected, rel=1e-12)


def test_two_layers_are_more_than_one_of_twice_the_flops() -> None:
    def network(*kernels: int) -> nn.Module:
        convolutions = [nn.Conv2d(4, 4, k, padding=k // 2) for k in kernels]
        return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    batch = torch.randn(2, 4, 8, 8)
    two, one = network(1, 1), network(3)
    assert proxies.flops(one, batch).value == 4.5 * proxies.flops(two, batch).value
    assert proxies.capacity(one, batch).value == pytest.approx(layer(64, 36))
    assert proxies.capacity(two, batch).value == pytest.approx(2 * layer(64, 4))


def test_fan_in_and_positions_give_the_flops_back() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, groups=1), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()
    products = list(forward_products(model, torch.randn(1, 3, 8, 8)))
    assert len(products) == 2
    for product in products:
        assert 2 * product.positions * product.channels * product.fan_in == product.flops


def test_it_reads_no_weight_and_one_sample() -> None:
    model, batch = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(4, 3, 2, 2)
    before = proxies.capacity(model, batch)
    with torch.no_grad():
        model[1].weight.fill_(float("nan"))
    assert proxies.capacity(model, batch[:1]) == before
