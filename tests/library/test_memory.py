"""``max_memory`` and threads decide how a batch is cut up, and never what comes out."""

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
