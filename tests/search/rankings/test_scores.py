"""Scores as columns, as a published table, and their spread over seeds."""

import gzip
import math
from statistics import stdev

import numpy as np
import pandas as pd
import pytest

from vkdnw.search.rankings.evaluation import evaluate, rankings_of
from vkdnw.search.rankings.exported_scores import ScoreTableError, read, write
from vkdnw.search.rankings.score_columns import (
    columns_by_seed,
    complete_table,
    load_evaluations,
    mean_columns,
)
from vkdnw.search.rankings.seed_spread import over_seeds
from vkdnw.search.rankings.spectrum_statistics import fisher_rank, with_spectral_values
from vkdnw.search.spaces import nb201
from vkdnw.search.tasks import Evaluation

A, B, C = nb201.live()[:3]


def evaluation(arch, seed=0, deciles=(), **values):
    return Evaluation(arch, arch, seed, values, deciles, seconds=0.1)


# Columns


def test_a_column_holds_means_over_seeds_of_the_architectures_that_have_the_value():
    columns = mean_columns(
        [evaluation(A, zen=1.0), evaluation(A, 1, zen=4.0), evaluation(B, jacov=2.0)]
    )
    assert {name: column.to_dict() for name, column in columns.items()} == {
        "zen": {A: 2.5},
        "jacov": {B: 2.0},
    }


def test_a_value_undefined_under_a_seed_is_undefined_and_stays_in_its_column():
    columns = mean_columns(
        [
            *(evaluation(A, seed, zen=value) for seed, value in enumerate([1.0, math.nan])),
            *(evaluation(B, seed, zen=value) for seed, value in enumerate([1.0, -math.inf])),
            *(evaluation(C, seed, zen=value) for seed, value in enumerate([math.inf, -math.inf])),
        ]
    )
    assert list(columns["zen"].index) == [A, B, C]
    assert columns["zen"].to_numpy() == pytest.approx([math.nan, -math.inf, math.nan], nan_ok=True)


def test_a_table_has_the_architectures_with_all_its_columns():
    columns = mean_columns(
        [evaluation(A, zen=math.nan, jacov=1.0), evaluation(B, zen=2.0), evaluation(C, jacov=3.0)]
    )
    table = complete_table(columns, ["jacov", "zen"])
    assert list(table.index) == [A]
    assert list(table.columns) == ["jacov", "zen"]


# Statistics of spectra


def test_the_fisher_rank_counts_what_is_not_rounding():
    assert fisher_rank([0.0, 1e-3, 1e8, 5.0]) == 2  # 1e-3 is the tolerance itself
    assert fisher_rank([3.0]) == 1
    assert fisher_rank([0.0, 0.0]) == fisher_rank([]) == 0


@pytest.mark.parametrize("rank", [0, 1, 5, 30])
def test_the_fisher_rank_is_that_of_the_jacobian_in_float32(rank):
    rng = np.random.default_rng(rank)
    jacobian = (rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 30))).astype(np.float32)
    singular_values = np.linalg.svd(jacobian.astype(np.float64), compute_uv=False)
    assert fisher_rank(list(singular_values**2)) == rank


def test_statistics_of_spectra_join_the_values_where_a_spectrum_was_kept():
    evaluations = [evaluation(A, zen=1.0), evaluation(A, 1, zen=2.0), evaluation(B, zen=3.0)]
    found = with_spectral_values(evaluations, {(A, 0): (0.0, 1.0, 2.0), (A, 1): (1.0, 1.0)})
    assert [dict(e.values) for e in found] == [
        {"zen": 1.0, "fisher_rank": 2.0},
        {"zen": 2.0, "fisher_rank": 2.0},
        {"zen": 3.0},
    ]


# Spread


def test_the_spread_is_that_of_the_rankings_of_single_seeds():
    rng = np.random.default_rng(0)
    archs = nb201.live()[:40]
    truth = pd.DataFrame({"cifar10": rng.uniform(80, 95, 40)}, index=pd.Index(archs, name="arch"))
    evaluations = [
        evaluation(arch, seed, zen=truth["cifar10"][arch] + 3 * rng.normal())
        for seed in range(3)
        for arch in archs
    ]
    by_seed = columns_by_seed(evaluations)
    (found,) = over_seeds(by_seed, rankings_of, truth)
    alone = [evaluate(rankings_of(by_seed[seed]), truth, resamples=0)[0] for seed in range(3)]
    assert (found.ranking, found.dataset, found.seeds) == ("zen", "cifar10", 3)
    for metric in ("kendall", "spearman", "ndcg"):
        values = [getattr(result, metric).value for result in alone]
        assert getattr(found, metric).mean == pytest.approx(np.mean(values))
        assert getattr(found, metric).deviation == pytest.approx(stdev(values))
    assert found.kendall.deviation > 0


def test_a_metric_that_is_undefined_under_a_seed_has_no_spread():
    truth = pd.DataFrame({"cifar10": [80.0, 90.0]}, index=pd.Index([A, B], name="arch"))
    constant = [evaluation(arch, seed, zen=float(seed)) for arch in (A, B) for seed in (0, 1)]
    (found,) = over_seeds(columns_by_seed(constant), rankings_of, truth)
    assert math.isnan(found.kendall.mean)
    assert math.isnan(found.kendall.deviation)


# Published tables


EVALUATIONS = [
    evaluation(A, 0, (0.25, *range(8)), layers=21.0, vkdnw=1 / 3, single=21 + 1 / 3),
    evaluation(B, 0, (), layers=66.0, zen=math.nan, jacov=-math.inf),
    evaluation(A, 1, (), zen=math.inf, synflow=1.23456789e30),
]


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.gz"])
def test_a_table_is_read_back(tmp_path, name):
    path = tmp_path / name
    assert write(path, EVALUATIONS) == 3
    evaluations = load_evaluations(path)
    found = {(e.architecture, e.seed): e.values for e in evaluations}  # noqa: PD011
    assert found.keys() == {(A, 0), (B, 0), (A, 1)}
    assert evaluations[0].deciles == (0.25, 0, 1, 2, 3, 4, 5, 6, 7)
    assert found[A, 0] == {
        "layers": 21.0,
        "vkdnw": 0.333333333,
        "single": pytest.approx(21.333333333),
    }
    assert found[A, 1] == {"zen": math.inf, "synflow": 1.23456789e30}
    undefined = found[B, 0]
    assert undefined.keys() == {"layers", "zen", "jacov"}
    assert math.isnan(undefined["zen"])
    assert undefined["jacov"] == -math.inf


def test_nine_digits_keep_float32_numbers(tmp_path):
    value = float(np.nextafter(np.float32(1.1), np.float32(2)))
    write(tmp_path / "scores.csv", [evaluation(A, zen=value)])
    (found,) = read(tmp_path / "scores.csv")
    assert np.float32(mean_columns([found])["zen"].item()) == np.float32(value)


def test_the_same_scores_give_the_same_bytes(tmp_path):
    for name, evaluations in (("a.csv.gz", EVALUATIONS), ("b.csv.gz", EVALUATIONS[::-1])):
        write(tmp_path / name, evaluations, deciles=False)
    # The header of gzip names the file; its contents must not differ.
    a, b = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("a.csv.gz", "b.csv.gz"))
    assert a == b
    assert b"decile" not in a


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("network,seed\n", "has no column 'arch'"),
        (f"arch,zen\n{A},1\n", "has no column 'seed'"),
        (f"arch,seed,zen\n{A},0,high\n", "column 'zen': could not convert string to float: 'high'"),
        (f"arch,seed\n{A},0\n{A},0\n", "under seed 0 twice"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tmp_path, content, message):
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(ScoreTableError, match=message):
        read(path)


def test_nothing_and_other_formats_are_not_written(tmp_path):
    with pytest.raises(ScoreTableError, match="no scores to write"):
        write(tmp_path / "scores.csv", [])
    with pytest.raises(ScoreTableError, match=r"ends in \.csv or \.csv\.gz"):
        write(tmp_path / "scores.xlsx", EVALUATIONS)
