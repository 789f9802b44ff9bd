"""The garbage collector, paused for a pass through a model and no longer."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from threading import Event, Thread

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from vkdnw.runtime.garbage_collection import gc_disabled


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """The collector's state is the process's own."""
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_is_paused_inside_and_given_back_however_the_block_ends() -> None:
    inside: list[bool] = []

    def fail() -> None:
        with gc_disabled():
            inside.append(gc.isenabled())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert inside == [False]
    assert gc.isenabled()


def test_stays_off_for_a_caller_who_turned_it_off() -> None:
    gc.disable()
    with gc_disabled():
        pass
    assert not gc.isenabled()


def test_the_last_of_overlapping_blocks_gives_it_back() -> None:
    entered, leave = Event(), Event()

    def hold() -> None:
        with gc_disabled():
            entered.set()
            leave.wait()

    other = Thread(target=hold)
    with gc_disabled():
        other.start()
        entered.wait()
    assert not gc.isenabled()
    leave.set()
    other.join()
    assert gc.isenabled()


SEEN: list[bool] = []


class Noting(nn.Linear):
    """Notes whether the collector is on while the model runs, and leaves a cycle behind."""

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(gc.isenabled())
        cycle: list[object] = [x]
        cycle.append(cycle)
        return super().forward(x)


def test_passes_through_a_model_are_without_it_and_the_caller_gets_it_back() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), Noting(4, 2)).eval()
    SEEN.clear()
    vkdnw.jacobian(model, torch.randn(8, 3), weights={"0.weight": [0]})
    assert SEEN
    assert not any(SEEN)
    assert gc.isenabled()
