"""Networks out of modules of earlier ones score as networks of their own."""

from __future__ import annotations

from random import Random
from threading import Thread

import pytest
import torch
from torch import nn

import vkdnw
from vkdnw.search.configuration import Configuration
from vkdnw.search.scoring import Scorer
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.tasks import Task

SPACE = NB201(cells=2, resolution=8)
CELLS = Random(0).sample(list(SPACE.architectures()), 12)


def drawn(model: nn.Module) -> dict[str, torch.Tensor]:
    return vkdnw.initialise(model, seed=1).state_dict()


@pytest.mark.parametrize("cell", CELLS)
def test_a_rebuilt_network_is_the_network(cell: str) -> None:
    SPACE.rebuild(CELLS[0])
    fresh, rebuilt = SPACE.build(cell), SPACE.rebuild(cell)
    assert repr(fresh) == repr(rebuilt)
    expected, found = drawn(fresh), drawn(rebuilt)
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_networks_of_one_size_share_modules_and_others_do_not() -> None:
    first, second = SPACE.rebuild(CELLS[0]), SPACE.rebuild(CELLS[0])
    assert first.stem is second.stem
    assert NB201(cells=1).rebuild(CELLS[0]).stem is not first.stem
    assert SPACE.build(CELLS[0]).stem is not first.stem


def test_threads_share_none() -> None:
    found: list[nn.Module] = []
    thread = Thread(target=lambda: found.append(SPACE.rebuild(CELLS[0])))
    thread.start()
    thread.join()
    assert found[0].stem is not SPACE.rebuild(CELLS[0]).stem


def test_a_score_does_not_depend_on_the_networks_before() -> None:
    scorer = Scorer(SPACE, Configuration(batch_size=2))
    tasks = [Task(cell, 0, ("vkdnw",)) for cell in CELLS[:5] if "conv" in cell]
    forwards = [scorer(task) for task in tasks]
    backwards = [scorer(task) for task in tasks[::-1]][::-1]
    assert [one.arrays for one in forwards] == [other.arrays for other in backwards]
