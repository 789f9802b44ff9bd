"""The ranking: means over seeds, one row for each network, undefined values last."""

import math
from statistics import stdev

import pytest

from vkdnw.search.rankings.best_networks import rank
from vkdnw.search.tasks import Evaluation


def evaluation(
    architecture: str, single: float, seed: int = 0, network: str | None = None
) -> Evaluation:
    values = {"single": single, "vkdnw": single / 2}
    return Evaluation(architecture, network or architecture, seed, values, (), 0.0)


def test_the_highest_mean_over_seeds_comes_first() -> None:
    ranked = rank(
        [
            evaluation("a", 1.0),
            evaluation("b", 2.0),
            evaluation("a", 4.0, 1),
            evaluation("b", 2.5, 1),
        ]
    )
    assert [(row.rank, row.architecture) for row in ranked] == [(1, "a"), (2, "b")]
    assert ranked[0].values == {"single": 2.5, "vkdnw": 1.25}
    assert ranked[0].spread["single"] == pytest.approx(stdev([1.0, 4.0]))
    assert ranked[0].seeds == (0, 1)


def test_under_one_seed_there_is_no_spread() -> None:
    assert rank([evaluation("a", 1.0)])[0].spread == {"single": 0.0, "vkdnw": 0.0}


def test_equal_networks_share_a_row_and_are_named() -> None:
    (row,) = rank([evaluation(name, 1.0, seed, "a") for seed in (0, 1) for name in ("b", "a", "c")])
    assert row.architecture == "b"
    assert row.equal == ("a", "c")
    assert row.seeds == (0, 1)


def test_undefined_and_infinite_values_keep_their_places() -> None:
    scores = {"nan": math.nan, "low": -math.inf, "mid": 0.0, "high": math.inf}
    ranked = rank(evaluation(name, value) for name, value in scores.items())
    assert [row.architecture for row in ranked] == ["high", "mid", "low", "nan"]


def test_by_another_value() -> None:
    rows = [
        Evaluation("a", "a", 0, {"single": 2.0, "naswot": 1.0}, (), 0.0),
        Evaluation("b", "b", 0, {"single": 1.0, "naswot": 5.0}, (), 0.0),
    ]
    assert [row.architecture for row in rank(rows, by="naswot")] == ["b", "a"]
    with pytest.raises(ValueError, match=r"'zen'\. Known are naswot, single"):
        rank(rows, by="zen")


def test_nothing_scored_is_an_empty_ranking() -> None:
    assert rank([]) == []


PARTS = {
    "a": {"flops": 1.0, "naswot": 9.0},
    "b": {"flops": 3.0, "naswot": 8.0},
    "c": {"flops": 2.0, "naswot": 7.0},
    "d": {"flops": 9.0},
}


def test_an_aggregate_ranks_the_networks_that_have_its_parts() -> None:
    """Among three, b is third and second best in 1 .. 3: log 3 + log 2; d was not computed."""
    rows = [Evaluation(name, name, 0, values, (), 0.0) for name, values in PARTS.items()]
    ranked = rank(rows, by="mine=flops+naswot")
    assert [row.architecture for row in ranked] == ["b", "a", "c", "d"]
    assert ranked[0].values["mine"] == pytest.approx(math.log(3) + math.log(2))
    assert "mine" not in ranked[-1].values
    with pytest.raises(ValueError, match="vkdnw_agg needs 'layers', which is not on record"):
        rank(rows, by="vkdnw_agg")


def test_an_aggregate_is_of_means_over_seeds() -> None:
    rows = [
        Evaluation("a", "a", 0, {"flops": 1.0}, (), 0.0),
        Evaluation("a", "a", 1, {"flops": 5.0}, (), 0.0),
        Evaluation("b", "b", 0, {"flops": 2.0}, (), 0.0),
    ]
    assert [row.architecture for row in rank(rows, by="mine=flops")] == ["a", "b"]
