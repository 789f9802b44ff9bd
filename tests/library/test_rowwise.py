"""Which parts of a graph are taken to keep rows apart without looking at a gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from vkdnw.backward.graph import consumers
from vkdnw.per_sample.probing.batch_axis import entries

WEIGHT = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(0))


def entered(forward: Callable[[Tensor], Tensor]) -> list[str]:
    """Names of the nodes whose gradients say which samples the input's gradient reaches.

    All axes are as long as that of samples: lengths give nothing away.
    """
    x = torch.randn(4, 4, 4, 4, requires_grad=True)
    y = forward(x)
    found = entries([get_gradient_edge(x)], consumers(y), 4)
    return sorted(edge.node.name() for edge in found)


APART = {
    "a convolution": lambda x: F.conv2d(x, WEIGHT, padding=1),
    "a normalisation": lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)),
    "a sum": lambda x: x + F.relu(x),
    "a product with a factor for each channel": lambda x: x * x.mean((2, 3), keepdim=True),
    "a broadcast constant": lambda x: x * torch.rand(4, 4),
    "poolings": lambda x: F.max_pool2d(F.avg_pool2d(x, 2), 2),
    "a mean over other axes": lambda x: x.mean((-1, -2)),
    "a view that keeps rows": lambda x: x.view(4, 64),
}

MIXED = {
    "a flip": lambda x: x.flip(0),
    "a mean over rows": lambda x: x.mean(0),
    "a mean over rows, counted from the end": lambda x: x.mean((-4,)),
    "a transposition": lambda x: x.transpose(0, 1),
    "a normalisation in train mode": lambda x: F.batch_norm(x, None, None, training=True),
    "a broadcast over rows": lambda x: x[0] + x,
    "a view over rows": lambda x: x.view(64, 4),
    "a kind that is not known": lambda x: torch.cumsum(x, 1),
}


@pytest.mark.parametrize("name", APART)
def test_rows_are_kept_apart_by(name: str) -> None:
    root = APART[name](torch.randn(4, 4, 4, 4, requires_grad=True)).grad_fn
    assert root is not None
    assert entered(APART[name]) == [root.name()]


@pytest.mark.parametrize("name", MIXED)
def test_nothing_is_concluded_below(name: str) -> None:
    """The gradient below is looked at, whatever keeps rows apart further down."""
    below = entered(lambda x: MIXED[name](F.relu(x)))
    assert "ReluBackward0" in below


def test_one_user_that_may_mix_is_enough() -> None:
    assert entered(lambda x: F.relu(x) + x.flip(0)) == ["torch::autograd::AccumulateGrad"]


def test_a_leading_axis_of_something_else_is_no_row() -> None:
    """Two samples side by side in one row: their sum keeps the row, and mixes them."""
    x = torch.randn(1, 2, requires_grad=True)
    y = x.mean(1, keepdim=True)
    edges = [get_gradient_edge(x)]
    assert entries(edges, consumers(y), 2) == edges
