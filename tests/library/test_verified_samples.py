"""Which samples of a call are compared with plain autograd."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.comparison import assert_close
from tests.reference import reference_jacobian_by_loop
from vkdnw.weights import select


class DeadForMost(nn.Module):
    """A hook behind a weight of two layers, and a ReLU that is open for one sample only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.tanh(self.first(x)))
        if y.requires_grad:
            y.register_hook(lambda gradient: 0.5 * gradient)
        return self.last(torch.relu(torch.tanh(y)))


@pytest.mark.parametrize("alive", range(6))
def test_a_difference_that_only_one_sample_shows_is_found(alive: int) -> None:
    model = DeadForMost().double()
    with torch.no_grad():
        model.first.weight.copy_(torch.eye(4) + 0.1)
        model.first.bias.zero_()
        model.second.bias.fill_(-0.5)
    batch = torch.zeros(6, 4, dtype=torch.float64)
    batch[:, 0] = torch.arange(6) * -0.01
    batch[alive] = torch.tensor([1.0, 0.9, 0.8, 0.7])
    selection = select(model, vkdnw.weights.every())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vkdnw.FallbackWarning)
        found = vkdnw.jacobian(model, batch, weights=vkdnw.weights.every())
    expected = reference_jacobian_by_loop(model, batch, selection)
    assert expected[:, :, :16].abs().sum((1, 2)).nonzero().flatten().tolist() == [alive]
    assert_close(found, expected, selection, 1e-10)
