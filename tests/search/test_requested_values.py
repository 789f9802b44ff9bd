"""Values are asked for by the names of proxies and of aggregates."""

import pytest

from vkdnw.search.rankings.aggregation import NAMED
from vkdnw.search.requested_values import COUNTED, check_inputs, ranked_by, resolve


def test_an_aggregate_stands_for_its_parts_that_are_computed() -> None:
    assert set(resolve("vkdnw_agg")) == set(NAMED["vkdnw_agg"].parts) - COUNTED
    assert resolve("vkdnw_agg, naswot,naswot,vkdnw_single").count("naswot") == 1


@pytest.mark.parametrize(
    ("text", "by"),
    [("flow_agg", "flow_agg"), ("vkdnw,naswot", "single"), ("naswot,jacov", "naswot")],
)
def test_a_run_is_ranked_by_the_aggregate_it_was_asked_for(text: str, by: str) -> None:
    assert ranked_by(text) == by


def test_all_are_all_but_what_strings_tell() -> None:
    assert {"vkdnw", "naswot", "jacov", "synflow"} <= set(resolve("all"))
    assert not set(resolve("all")) & (COUNTED | {"vkdnw_single"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("naswott", "no proxy is called 'naswott'; did you mean 'naswot"),
        ("flops", "nothing to comp"),
    ],
)
def test_what_cannot_be_computed_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(text)


def test_nothing_but_labels_needs_images() -> None:
    check_inputs(("vkdnw", "jacov"), images=False)
