"""Which scalars are chosen, and in which order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vkdnw import weights
from vkdnw.weights import Selection, select


def model() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 4), nn.Linear(4, 4))
    network.append(nn.Linear(4, 4, bias=False))
    network[4].weight = network[3].weight  # tied
    network[1].weight.requires_grad_(False)
    network.register_parameter("none", None)
    network.register_parameter("empty", nn.Parameter(torch.empty(0)))
    return network


NAMES = ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias")


def chosen(selection: Selection) -> dict[str, list[int]]:
    return {n: i.tolist() for n, i in zip(selection.names, selection.indices, strict=True)}


def named(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if parameter.numel()]


def test_first_takes_one_scalar_of_each_tensor_tied_once_frozen_too() -> None:
    network = model()
    assert chosen(select(network, weights.first())) == {name: [0] for name in named(network)}
    assert set(named(network)) == set(NAMES)


def test_first_takes_the_leading_tensors() -> None:
    network = model()
    leading = [name for name, _ in network.named_parameters()][:4]
    found = chosen(select(network, weights.first(tensors=4)))
    assert list(found) == [name for name in leading if name != "empty"]


def test_spaced_takes_both_ends_and_all_of_small_tensors() -> None:
    found = chosen(select(model(), weights.spaced(3)))
    assert found["3.weight"] == [0, 7, 15]
    assert found["0.weight"] == [0, 2, 5]
    assert found["0.bias"] == [0, 1]
    assert chosen(select(model(), weights.spaced(1)))["3.weight"] == [0]


def test_sampled_draws_tensors_by_their_number_alone() -> None:
    network = model()
    assert chosen(select(network, weights.sampled())) == {name: [0] for name in named(network)}
    found = select(network, weights.sampled(tensors=3))
    assert len(found.names) in (2, 3)  # one of the nine tensors is empty
    assert all(index.tolist() == [0] for index in found.indices)
    other = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)), nn.Linear(2, 2, bias=False))
    assert len(list(other.parameters())) == len(list(network.parameters()))
    assert places(network, 3) <= places(other, 3)


def places(network: nn.Module, tensors: int) -> set[int]:
    """The places among all tensors of those that are drawn."""
    names = [name for name, _ in network.named_parameters()]
    return {names.index(name) for name in select(network, weights.sampled(tensors)).names}


def test_every_takes_all() -> None:
    network = model()
    found = select(network, weights.every())
    assert len(found) == sum(parameter.numel() for parameter in network.parameters())
    assert chosen(found)["2.weight"] == list(range(8))


def test_random_is_a_draw_without_replacement_by_seed() -> None:
    network = model()
    total = sum(parameter.numel() for parameter in network.parameters())
    state = torch.get_rng_state()
    one = chosen(select(network, weights.random(10, seed=1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert one == chosen(select(network, weights.random(10, seed=1)))
    assert one != chosen(select(network, weights.random(10, seed=2)))
    assert all(index == sorted(set(index)) for index in one.values())
    assert sum(map(len, one.values())) == 10
    assert select(network, weights.random(total, seed=3)).names == tuple(named(network))


def test_explicit_choices_come_in_the_models_order() -> None:
    found = chosen(select(model(), {"2.weight": [7, 0, 3], "0.bias": [1], "2.bias": []}))
    assert found == {"0.bias": [1], "2.weight": [0, 3, 7]}
    assert list(found) == ["0.bias", "2.weight"]


def test_offsets_are_the_first_columns() -> None:
    assert select(model(), {"0.bias": [0, 1], "2.weight": [1], "3.bias": [0]}).offsets == (0, 2, 3)


@pytest.mark.parametrize("columns", [1, 2, 5, 7, 100])
def test_blocks_are_the_selection_in_pieces(columns: int) -> None:
    whole = select(model(), weights.every())
    blocks = list(whole.blocks(columns))
    assert all(len(block) == columns for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= columns
    pairs = [
        (name, index)
        for block in blocks
        for name, indices in chosen(block).items()
        for index in indices
    ]
    assert pairs == [(name, i) for name, indices in chosen(whole).items() for i in indices]
