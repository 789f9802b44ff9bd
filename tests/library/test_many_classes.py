"""Vocabularies: as many cotangents as classes are never held, and ``max_memory`` is kept."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
import torch
from torch import nn

import vkdnw
from tests.library.comparison import assert_close
from tests.library.peak_memory import MEBIBYTE, peak
from tests.reference import reference_jacobian_by_loop
from vkdnw.per_sample.cotangents import ClassCotangents, applied, combined
from vkdnw.weights import select

CPU = torch.device("cpu")

DENSE = {
    "every": torch.eye(5, dtype=torch.float64),
    "differences": torch.eye(5, dtype=torch.float64)[:4] - torch.eye(5, dtype=torch.float64)[4],
    "leading": torch.eye(5, dtype=torch.float64)[:4],
}


@pytest.mark.parametrize("kind", DENSE)
def test_cotangents_as_data_stand_for_a_matrix(
    kind: Literal["every", "differences", "leading"],
) -> None:
    rows, dense = ClassCotangents(kind, 5, CPU), DENSE[kind]
    torch.manual_seed(0)
    derivatives = torch.randn(3, 5, 7, dtype=torch.float64)
    factors = torch.randn(2, len(dense), dtype=torch.float64)
    assert len(rows) == len(dense)
    assert torch.equal(rows[:], dense)
    assert torch.equal(rows[1:3], dense[1:3])
    assert torch.equal(rows[3:99], dense[3:])
    assert rows[4:2].shape == (0, 5)
    assert torch.equal(torch.stack(list(rows)), dense)
    torch.testing.assert_close(applied(rows, derivatives), applied(dense, derivatives))
    torch.testing.assert_close(combined(factors, rows), combined(factors, dense))


def network(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, classes)).double().eval()


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_many_classes_in_either_mode(mode: str) -> None:
    model, batch = network(300), torch.randn(3, 8).double()
    weights = vkdnw.weights.spaced(2)
    selection = select(model, weights)
    expected = reference_jacobian_by_loop(model, batch, selection)
    found = vkdnw.jacobian(model, batch, weights=weights, mode=mode)
    assert_close(found, expected, selection)


def test_a_sample_whose_jacobian_does_not_fit_is_refused_with_its_size() -> None:
    says = r"max_memory=500000 .* 2880000 of them for its Jacobian \[5000, 12\]; .* fewer scalars"
    with pytest.raises(MemoryError, match=says):
        vkdnw.score(
            network(5000), torch.randn(2, 8).double(), weights=vkdnw.weights.spaced(3),
            max_memory=500_000,
        )  # fmt: skip


CALLS = """
import sys
import torch
from torch import nn
import vkdnw

def resident(kind):
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith(kind))
    return int(line.split()[1]) * 1024

def network(classes):
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, classes)).eval()

call, classes, budget = getattr(vkdnw, sys.argv[1]), *map(int, sys.argv[2:4])
options = {"weights": vkdnw.weights.spaced(int(sys.argv[4])), "mode": sys.argv[5]}
torch.set_num_threads(1)
torch.manual_seed(0)
batch = torch.randn(4, 8)
call(network(400), batch, **options)  # loads the libraries
model = network(classes)
with open("/proc/self/clear_refs", "w") as references:
    references.write("5")  # the peak starts anew
before = resident("VmRSS")
call(model, batch, max_memory=budget, **options)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("call", "classes", "budget", "scalars", "mode"),
    [
        ("score", 50_000, 60 * MEBIBYTE, 1, "auto"),
        ("jacobian", 20_000, 60 * MEBIBYTE, 8, "auto"),
        ("score", 1_500, 16 * MEBIBYTE, 1, "reverse"),
    ],
)
def test_a_vocabulary_stays_within_its_budget(
    call: str, classes: int, budget: int, scalars: int, mode: str
) -> None:
    assert peak(CALLS, call, classes, budget, scalars, mode) <= budget
