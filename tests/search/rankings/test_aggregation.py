"""Aggregates against golden values and against sums written out."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shared import golden_path
from vkdnw import proxies
from vkdnw.search.rankings.aggregation import (
    NAMED,
    VKDNW_SINGLE,
    Aggregate,
    AggregationError,
    Term,
    aggregate_scores,
    describe,
    log_rank_sum,
    parse,
    term_ranks,
    undefined_rows,
)
from vkdnw.search.rankings.term_weights import agreeing_weights, residual_weights

GOLDEN_NAMES = {
    "vkdnw_dim": "layers",
    "vkdnw_entropy": "vkdnw",
}

VALUES = st.sampled_from([0.0, 1.0, 2.5, -3.0, math.nan, math.inf, -math.inf])


def golden():
    found = json.loads(golden_path("aggregation.json").read_text())
    table = pd.DataFrame(found["input"]).astype(np.float64)
    return table.rename(columns=GOLDEN_NAMES), found["expected"]


# Golden values: ties, NaN, -inf and an exact duplicate among 20 networks


@pytest.mark.parametrize("name", ["az_nas", "te_nas", "vkdnw_agg"])
def test_named_aggregates_are_the_golden_ones(name):
    table, expected = golden()
    found = aggregate_scores(table, NAMED[name])
    assert found.to_numpy() == pytest.approx(np.array(expected[name]), rel=1e-13)


def test_vkdnw_single_is_the_golden_dense_rank():
    table, expected = golden()
    assert term_ranks(table, VKDNW_SINGLE).tolist() == expected["vkdnw_single_dense_rank"]


def test_flow_agg_is_vkdnw_agg_with_synflow_in_the_place_of_vkdnw():
    written = {name: describe(aggregate) for name, aggregate in NAMED.items()}
    assert written["vkdnw_agg"] == "dense(layers,vkdnw)+expressivity+trainability+flops+jacov"
    assert written["flow_agg"] == "flops+expressivity+trainability+jacov+synflow"


# Ranks


def slow_average_rank(values):
    """Places 1..n, ties sharing their mean; NaN has the least value of the others."""
    least = min((v for v in values if not math.isnan(v)), default=0.0)
    placed = [least if math.isnan(v) else v for v in values]
    return [sum(w < v for w in placed) + (1 + sum(w == v for w in placed)) / 2 for v in placed]


@given(st.lists(VALUES, min_size=1, max_size=12))
def test_average_ranks(values):
    table = pd.DataFrame({"a": values})
    assert term_ranks(table, Term(("a",))).tolist() == slow_average_rank(values)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_a_dense_rank_counts_the_distinct_pairs_below(pairs):
    table = pd.DataFrame(pairs, columns=["first", "second"], dtype=np.float64)
    ranks = term_ranks(table, Term(("first", "second"), dense=True))
    assert ranks.tolist() == [1 + len({q for q in pairs if q < p}) for p in pairs]


def test_a_pair_is_compared_where_its_sum_would_lose_the_difference():
    table = pd.DataFrame({"layers": [291.0, 291.0], "vkdnw": [1.0, 1.0 + 2**-52]})
    singles = table["layers"] + table["vkdnw"]
    assert singles[0] == singles[1]
    assert term_ranks(table, VKDNW_SINGLE).tolist() == [1, 2]


# Sums


@pytest.fixture
def table():
    index = pd.Index(["w", "x", "y", "z"], name="arch")
    columns = {"a": [1.0, 2.0, 2.0, math.nan], "b": [4.0, -math.inf, 2.0, 1.0]}
    return pd.DataFrame(columns, index=index)


def test_a_log_rank_sum_is_weighted(table):
    found = log_rank_sum(table, {"a": 1.0, "b": 0.5})
    ranks_a, ranks_b = [1.5, 3.5, 3.5, 1.5], [4.0, 1.0, 3.0, 2.0]
    expected = [math.log(a) + 0.5 * math.log(b) for a, b in zip(ranks_a, ranks_b, strict=True)]
    assert found.tolist() == pytest.approx(expected)
    assert found.index.equals(table.index)


def test_a_share_of_networks_changes_no_order(table):
    terms = (Term(("a",)), Term(("b",), 0.5))
    plain, shared = (
        aggregate_scores(table, Aggregate("mine", terms, share=share)) for share in (False, True)
    )
    assert (plain - shared).to_numpy() == pytest.approx(1.5 * math.log(4))


def test_undefined_parts_are_counted_by_row(table):
    assert undefined_rows(table, parse("mine=a+b")) == 2
    assert undefined_rows(table, parse("mine=a")) == 1


def test_ranks_are_among_the_rows_given(table):
    alone = log_rank_sum(table.iloc[:2], {"a": 1.0})
    assert alone.tolist() == [0.0, math.log(2)]


# Weights that follow from the terms


@pytest.mark.parametrize(
    ("text", "weights_of"),
    [
        ("mine=agreement(2*a+b+c+d)", lambda x: agreeing_weights(x, np.array([2.0, 1, 1, 1]))),
        ("mine=residual(a+b+c+d)", residual_weights),
    ],
)
def test_an_aggregate_is_the_sum_with_these_weights(text, weights_of):
    table = pd.DataFrame(np.random.default_rng(2).normal(size=(50, 4)), columns=list("abcd"))
    table += table[["a"]].to_numpy()
    places = np.log(np.stack([term_ranks(table, Term((name,))) for name in "abcd"]))
    found = aggregate_scores(table, parse(text)).to_numpy()
    assert found == pytest.approx(weights_of(places) @ places, rel=1e-13)


# As text


def test_an_aggregate_is_written_as_text():
    assert parse("mine = expressivity + 2*jacov - .5 * flops + dense( layers , vkdnw )") == (
        Aggregate(
            "mine",
            (
                Term(("expressivity",)),
                Term(("jacov",), 2.0),
                Term(("flops",), -0.5),
                Term(("layers", "vkdnw"), dense=True),
            ),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        "m=a",
        "m=a+2*b-0.5*c",
        "m=-1*a+dense(b,c)+3*dense(b)",
        "m=agreement(2*a+b)",
        "m=residual(a+b+dense(c,d))",
    ],
)
def test_a_description_is_read_back(text):
    assert describe(parse(text)) == text.removeprefix("m=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("expressivity+jacov", "an aggregate is NAME=TERM"),
        ("=a", "an aggregate is NAME=TERM"),
        ("two words=a", "an aggregate is NAME=TERM"),
        ("m=", "position 2 of 'm=' has no term"),
        ("m=a+", "position 3"),
        ("m=a b", "position 4"),
        ("m=a+dense()", "position 9"),
        ("m=2", "position 2"),
        ("m=agreement(a+)", "position 13"),
        ("m=residual(a+2*b+c)", "residual\\(\\) sets all weights itself"),
        ("m=residual(a+b)", "needs a size and two terms or more beside it"),
        ("m=agreement(a-b)", "takes no term after a minus sign"),
        ("m=0*a", "a weight must be finite and not 0, got 0"),
    ],
)
def test_what_is_no_aggregate_is_refused(text, message):
    with pytest.raises(AggregationError, match=message):
        parse(text)


def test_what_cannot_be_summed_is_refused(table):
    with pytest.raises(AggregationError, match="mine needs 'zen', which is not on record; known"):
        aggregate_scores(table, parse("mine=a+zen"))
    with pytest.raises(AggregationError, match="this has none"):
        aggregate_scores(table.iloc[:0], parse("mine=a"))
    with pytest.raises(AggregationError, match="a weight must be finite"):
        log_rank_sum(table, {"a": math.nan})
    with pytest.raises(AggregationError, match="weights is empty"):
        log_rank_sum(table, {})


def test_the_parts_of_named_aggregates_are_proxies():
    parts = {part for aggregate in NAMED.values() for part in aggregate.parts}
    assert parts <= set(proxies.names())
