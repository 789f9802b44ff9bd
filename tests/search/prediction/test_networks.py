"""The networks of a run, one row each, for models of few accuracies."""

import math

import numpy as np
import pandas as pd
import pytest

from vkdnw.search.prediction.feature_groups import FeatureError
from vkdnw.search.prediction.networks import networks_of, next_networks
from vkdnw.search.spaces import nb201, registry
from vkdnw.search.tasks import Evaluation

ARCHITECTURES = nb201.live()[:40]


def evaluation(arch: str, network: str | None = None, seed: int = 0, **values: float) -> Evaluation:
    return Evaluation(arch, network or arch, seed, values, (), seconds=0.1)


EVALUATIONS = [
    evaluation(arch, flops=float(k), zen=float(-k % 7)) for k, arch in enumerate(ARCHITECTURES)
]


def test_a_row_has_every_value_that_all_networks_have() -> None:
    some = [*EVALUATIONS[:5], evaluation(ARCHITECTURES[5], flops=2.0, zen=1.0, snip=3.0)]
    assert list(networks_of(some, by="flops").features.columns) == ["flops", "zen"]


def test_values_are_means_over_seeds_and_undefined_ones_the_worst() -> None:
    two = [evaluation("a", seed=seed, flops=seed, zen=1.0) for seed in (0, 1)]
    found = networks_of([*two, evaluation("b", flops=3.0, zen=math.nan)], by="flops")
    assert found.features.loc["a", "flops"] == 0.5
    assert found.features.loc["b", "zen"] == 1.0


def test_equal_networks_are_one_row_and_share_an_accuracy() -> None:
    equal = [evaluation("a", "a", flops=1.0), evaluation("b", "a", flops=1.0)]
    found = networks_of([*equal, evaluation("c", flops=2.0)], by="flops")
    assert sorted(found.features.index) == ["a", "c"]
    accuracies = found.accuracies(pd.Series({"a": 90.0, "b": 92.0}, name="acc"))
    assert accuracies["a"] == 91.0
    assert math.isnan(accuracies["c"])


def test_a_space_finds_equal_networks_in_a_table_of_strings() -> None:
    space = registry.space("nb201")
    cells = [  # one convolution straight to the output, on either way of two edges
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    ]
    table = [evaluation(arch, flops=float(k)) for k, arch in enumerate(cells)]
    assert len(networks_of(table, by="flops").prior) == 3
    assert len(networks_of(table, space, by="flops").prior) == 2


def test_the_ranking_may_be_an_aggregate_which_is_no_feature() -> None:
    found = networks_of(EVALUATIONS, by="mine=flops+zen")
    assert found.by == "mine"
    assert "mine" not in found.features
    assert (np.diff(found.prior) <= 0).all()


def test_without_a_name_the_best_aggregate_on_record_ranks() -> None:
    values = dict.fromkeys(("flops", "expressivity", "trainability", "jacov", "synflow"), 1.0)
    table = [evaluation(arch, **values, single=2.0) for arch in "ab"]
    assert networks_of(table).by == "flow_agg"
    assert networks_of([evaluation(arch, single=1.0) for arch in "ab"]).by == "single"


def test_what_is_not_on_record_is_refused() -> None:
    with pytest.raises(FeatureError, match="name a value to rank by: flops, zen"):
        networks_of(EVALUATIONS)
    with pytest.raises(ValueError, match="no value is called 'flop'"):
        networks_of(EVALUATIONS, by="flop")


def test_the_next_to_train_come_with_their_ranks() -> None:
    networks = networks_of(EVALUATIONS, by="flops")
    nothing = next_networks(networks, pd.Series(dtype=float), 3)
    assert nothing["order"].tolist() == nothing["prior_rank"].tolist() == [1, 2, 3]
    assert list(nothing.index) == list(ARCHITECTURES[:-4:-1])
    truth = pd.Series({arch: 90.0 - k for k, arch in enumerate(ARCHITECTURES[:10])})
    later = next_networks(networks, truth, 3)
    assert not set(later.index) & set(truth.index)
    assert (later["predicted_rank"] >= 1).all()
