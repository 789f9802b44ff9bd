"""A model that is moved in one copy is the model that torch would have moved."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vkdnw.search.device_transfer import moved


class Tied(nn.Module):
    """Two layers with one weight, a frozen one, one of another dtype, and buffers of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(5)
        self.norm.weight.requires_grad_(False)
        self.double = nn.Linear(2, 7).double()
        self.register_buffer("nothing", None)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Tied()


def test_has_the_state_of_the_model(model: nn.Module) -> None:
    before = copy.deepcopy(model)
    there = moved(model, "cpu")
    expected, found = before.state_dict(), there.state_dict()
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert all(expected[name].dtype == found[name].dtype for name in expected)
    assert [p.requires_grad for p in before.parameters()] == [
        p.requires_grad for p in there.parameters()
    ]


def test_parameters_stay_parameters_and_tied(model: nn.Module) -> None:
    there = moved(model, "cpu")
    assert there.first.weight is there.second.weight
    assert all(type(p) is nn.Parameter and p.is_leaf for p in there.parameters())
    assert there.nothing is None


def test_tensors_of_a_dtype_lie_in_one_piece_at_aligned_places(model: nn.Module) -> None:
    there = moved(model, "cpu")
    for dtype in (torch.float32, torch.float64):
        alike = [p for p in there.parameters() if p.dtype == dtype]
        (piece,) = {p.untyped_storage().data_ptr() for p in alike}
        assert all((p.data_ptr() - piece) % 16 == 0 for p in alike)


def test_a_write_to_one_does_not_reach_another(model: nn.Module) -> None:
    there = moved(model, "cpu")
    before = {name: p.clone() for name, p in there.named_parameters()}
    with torch.no_grad():
        there.first.weight.fill_(7.0)
    changed = [n for n, p in there.named_parameters() if not torch.equal(p, before[n])]
    assert changed == ["first.weight"]
