"""``max_memory`` and threads decide how a batch is cut up, and never the result."""

from __future__ import annotations

import pytest
import torch

import vkdnw
from tests.library.cases.case import Case
from tests.library.cases.data_dependent import DECIDED
from tests.library.cases.in_place import IN_PLACE
from tests.library.cases.interfaces import INTERFACES
from tests.library.cases.leading_axes import LEADING_AXES
from tests.library.cases.networks import NETWORKS
from tests.library.cases.sharing import SHARED
from tests.library.cases.state import HOOKS
from tests.library.cases.wrapped import WRAPPED
from tests.library.comparison import assert_close, smallest_budget
from vkdnw.runtime.memory import parse_size
from vkdnw.weights import select

pytestmark = pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")

WHOLE_MODELS = [
    *NETWORKS,
    *IN_PLACE,
    *SHARED,
    *INTERFACES,
    *LEADING_AXES,
    *DECIDED,
    *HOOKS,
    *WRAPPED,
]


@pytest.mark.parametrize("case", WHOLE_MODELS, ids=lambda case: case.name)
@pytest.mark.parametrize("threads", [1, 2])
def test_one_sample_at_a_time_gives_the_same(case: Case, threads: int) -> None:
    model, batch = case.model(), case.batch()
    options = {"weights": vkdnw.weights.spaced(3), "output": case.output}
    selection = select(model, options["weights"])
    torch.set_num_threads(threads)
    expected = vkdnw.jacobian(model, batch, **options)
    whole = expected.numel() * expected.element_size()
    budget = max(threads * smallest_budget(model, batch, **options), whole)
    found = vkdnw.jacobian(model, batch, max_memory=budget, **options)
    assert_close(found, expected, selection)


def test_a_jacobian_larger_than_the_budget_is_refused_with_its_size() -> None:
    model = torch.nn.Linear(100, 10)
    batch = torch.randn(8, 100)
    with pytest.raises(MemoryError, match=r"Jacobian \[8, 10, 1010\] needs 323200 bytes"):
        vkdnw.jacobian(model, batch, weights=vkdnw.weights.every(), max_memory=300_000)
    vkdnw.jacobian(model, batch, weights=vkdnw.weights.every(), max_memory=30_000_000)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 2**30), ("512M", 2**29), ("1.5 GB", 3 * 2**29), ("100", 100), ("8k", 8192)],
)
def test_sizes_are_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "1X", "G"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number and K, M, G or T"):
        parse_size(text)


def test_a_budget_is_bytes_or_text() -> None:
    model, batch = torch.nn.Linear(100, 10), torch.randn(8, 100)
    every = vkdnw.weights.every()
    with pytest.raises(MemoryError, match="max_memory=307200;"):
        vkdnw.jacobian(model, batch, weights=every, max_memory="300KiB")
    as_text = vkdnw.jacobian(model, batch, weights=every, max_memory="1 GiB")
    assert torch.equal(as_text, vkdnw.jacobian(model, batch, weights=every, max_memory=2**30))


@pytest.mark.parametrize(
    ("budget", "error"),
    [("1 litre", ValueError), ("0", ValueError), (-5, ValueError), ([1], TypeError)],
)
def test_a_budget_that_is_none_is_refused(budget: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"max_memory=.*expected a (positive )?number of bytes"):
        vkdnw.score(torch.nn.Linear(100, 10), torch.randn(8, 100), max_memory=budget)
