"""Models fitted to some accuracies and judged on the rest."""

import math

import numpy as np
import pandas as pd
import pytest

from vkdnw.search.prediction.feature_groups import FeatureError, model_features
from vkdnw.search.prediction.forest import PredictionError, judge, predict_rest
from vkdnw.search.rankings.metrics import kendall
from vkdnw.search.spaces import nb201
from vkdnw.search.tasks import Evaluation

ARCHITECTURES = nb201.live()[:80]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
INDEX = pd.Index(ARCHITECTURES, name="arch")
FEATURES = pd.DataFrame(X, INDEX, columns=["a", "b", "c"])
TRUTH = pd.Series(80 + 5 * np.sin(X[:, 0]) + X[:, 1], INDEX, name="cifar10")


def test_what_was_fitted_is_not_predicted():
    predicted = predict_rest(FEATURES, TRUTH, train=50, seed=0)
    assert len(predicted) == 30
    assert set(predicted.index) < set(ARCHITECTURES)
    other = predict_rest(FEATURES, TRUTH, train=50, seed=1)
    assert set(other.index) != set(predicted.index)


def test_the_rest_does_not_influence_the_fit():
    predicted = predict_rest(FEATURES, TRUTH, train=50, seed=0)
    changed = TRUTH.copy()
    changed[predicted.index] = 50.0
    assert predict_rest(FEATURES, changed, train=50, seed=0).equals(predicted)


def test_a_model_finds_what_the_features_tell_and_nothing_else():
    informed = judge("m", FEATURES, TRUTH, train=50, seeds=range(2))
    scrambled = pd.DataFrame(RNG.normal(size=(80, 3)), INDEX)
    ignorant = judge("m", scrambled, TRUTH, train=50, seeds=range(2))
    assert informed.kendall.mean > 0.6 > 0.3 > ignorant.kendall.mean
    assert (informed.ranking, informed.dataset, informed.n) == ("m", "cifar10", (30, 30))


def test_the_metrics_are_those_of_the_rest():
    (tau,) = (
        kendall(predicted.to_numpy(), TRUTH[predicted.index].to_numpy())
        for predicted in [predict_rest(FEATURES, TRUTH, train=50, seed=3)]
    )
    assert judge("m", FEATURES, TRUTH, train=50, seeds=[3]).kendall.mean == tau


def test_architectures_without_accuracy_or_features_are_left_out():
    assert len(predict_rest(FEATURES, TRUTH.iloc[:60], train=50)) == 10
    assert len(predict_rest(FEATURES.iloc[5:], TRUTH.iloc[:60], train=50)) == 5


@pytest.mark.parametrize("train", [0, 79, 1024])
def test_too_few_networks_are_refused(train):
    with pytest.raises(PredictionError, match="train must lie in 1 to 78"):
        predict_rest(FEATURES, TRUTH, train=train)


# Features


def evaluation(arch, seed=0, deciles=tuple(range(1, 10)), **values):
    return Evaluation(arch, arch, seed, values, deciles, seconds=0.1)


def test_each_model_sees_its_groups_of_features():
    evaluations = [
        evaluation(arch, vkdnw=1.5, layers=21.0, single=22.5, zen=-3.0, flops=7.0)
        for arch in ARCHITECTURES[:2]
    ]
    names = {
        model: list(model_features(evaluations, model).columns)
        for model in ("graf_m", "vkdnw_m", "vkdnw_zcs_m", "vkdnw_zcs_graf_m")
    }
    deciles = [f"{kind}decile_{k}" for kind in ("", "share_") for k in range(1, 10)]
    assert names["vkdnw_m"] == ["vkdnw", "layers", *deciles]
    assert names["vkdnw_zcs_m"] == [*names["vkdnw_m"], "zen", "flops"]
    assert names["vkdnw_zcs_graf_m"] == names["vkdnw_zcs_m"] + names["graf_m"]


def test_deciles_are_means_over_seeds_and_shares_of_their_sum():
    table = model_features(
        [
            evaluation(ARCHITECTURES[0], vkdnw=1.0),
            evaluation(ARCHITECTURES[0], 1, deciles=(3.0,) * 9, vkdnw=2.0),
        ],
        "vkdnw_m",
    )
    expected = (np.arange(1, 10) + 3) / 2
    row = table.loc[ARCHITECTURES[0]]
    assert row[[f"decile_{k}" for k in range(1, 10)]].to_numpy() == pytest.approx(expected)
    shares = row[[f"share_decile_{k}" for k in range(1, 10)]].to_numpy()
    assert shares == pytest.approx(expected / expected.sum())


def test_undefined_features_take_their_place_in_the_ranking():
    scores = [1.0, math.nan, -math.inf, 5.0, math.inf]
    evaluations = [
        evaluation(arch, vkdnw=1.0, zen=zen)
        for arch, zen in zip(ARCHITECTURES, scores, strict=False)
    ]
    assert model_features(evaluations, "vkdnw_zcs_m")["zen"].tolist() == [1.0, 1.0, 1.0, 5.0, 5.0]


def test_a_spectrum_of_zeros_has_no_shares():
    table = model_features([evaluation(ARCHITECTURES[0], deciles=(0.0,) * 9, vkdnw=0.0)], "vkdnw_m")
    assert table["share_decile_5"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vkdnw_m", "no VKDNW with its deciles is on record"),
        ("vkdnw_zcs_m", "no VKDNW with its deciles is on record"),
    ],
)
def test_features_that_are_not_on_record_are_named(model, message):
    with pytest.raises(FeatureError, match=message):
        model_features([evaluation(ARCHITECTURES[0], deciles=(), zen=1.0)], model)


def test_scores_besides_vkdnw_are_needed_for_zcs():
    with pytest.raises(FeatureError, match="no training-free score besides VKDNW"):
        model_features([evaluation(ARCHITECTURES[0], vkdnw=1.0, layers=21.0)], "vkdnw_zcs_m")
