"""The commands that rank: their output for scores in an exported table."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau

from vkdnw.search.rankings.exported_scores import read, write
from vkdnw.search.rankings.score_columns import mean_columns
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.selection import sample
from vkdnw.search.tasks import Evaluation

Vkdnw = Callable[..., tuple[int, str, str]]

ARCHITECTURES = nb201.live()[:30]
PARTS = ("layers", "vkdnw", "expressivity", "trainability", "flops", "jacov")


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of VKDNW_agg under two seeds, one of them undefined once."""
    rng = np.random.default_rng(0)
    evaluations = []
    for seed in (0, 1):
        for place, arch in enumerate(ARCHITECTURES):
            values = {part: place + float(rng.normal()) for part in PARTS}
            values |= {"layers": 21.0 + 45 * (place // 10)}
            if place == 5:
                values["jacov"] = math.nan
            deciles = tuple(sorted(rng.uniform(0, 10, 9)))
            evaluations.append(Evaluation(arch, arch, seed, values, deciles, 0.1))
    path = tmp_path_factory.mktemp("scores") / "scores.csv.gz"
    write(path, evaluations)
    return path


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    lines = [f"{arch},{60 + i},{40 + i}" for i, arch in enumerate(ARCHITECTURES)]
    path.write_text("\n".join(["arch,cifar10,cifar100", *lines]))
    return path


def test_top_ranks_a_published_table_by_an_aggregate(vkdnw: Vkdnw, scores: Path) -> None:
    """Places rise together in all parts, noise apart, so the last architectures are the best."""
    code, out, _ = vkdnw("top", scores, "--by", "vkdnw_agg", "-n", 3, "--json")
    assert code == 0
    best = [row["architecture"] for row in json.loads(out)["rows"]]
    assert set(best) < set(ARCHITECTURES[-8:])
    code, out, _ = vkdnw("top", scores, "--by", "mine=jacov+2*flops", "-n", 3)
    assert code == 0
    assert "Top 3 by mine" in out
    code, _, err = vkdnw("top", scores, "--by", "az_nas")
    assert code == 2
    assert "az_nas needs 'progressivity', which is not on record" in err


def test_evaluate_ranks_by_the_aggregates_whose_parts_are_on_record(
    vkdnw: Vkdnw, scores: Path, truth: Path
) -> None:
    code, out, _ = vkdnw("evaluate", scores, "--truth", truth, "--bootstrap", 0, "--json")
    assert code == 0
    results = {(r["ranking"], r["dataset"]): r for r in json.loads(out)["rows"]}
    assert {name for name, _ in results} == {*PARTS, "single", "vkdnw_agg"}
    found = results["vkdnw_agg", "cifar10"]
    assert (found["n"], found["undefined"]) == (30, 1)
    assert found["kendall"] > 0.8


def test_evaluate_compares_on_a_sample(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    """The sample that a search scores, so that values computed for it alone are compared fairly."""
    evaluate = ["evaluate", scores, "--truth", truth, "--bootstrap", 0, "--ranking", "vkdnw"]
    code, out, _ = vkdnw(*evaluate, "--sample", 12, "--sample-seed", 3, "--json")
    assert code == 0
    (one, *_) = json.loads(out)["rows"]
    chosen = sample(ARCHITECTURES, 12, 3)
    places = {arch: place for place, arch in enumerate(ARCHITECTURES)}
    values = mean_columns(read(scores))["vkdnw"][chosen]
    expected = kendalltau(values, [places[arch] for arch in chosen]).statistic
    assert (one["n"], one["kendall"]) == (12, pytest.approx(expected))
    code, _, err = vkdnw(*evaluate, "--sample", 31)
    assert code == 2
    assert "a sample has 1 to 30 architectures, asked were 31" in err


def test_evaluate_ranks_by_a_users_aggregate(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    evaluate = ["evaluate", scores, "--truth", truth, "--bootstrap", 0]
    mine = ["--aggregate", "mine=2*jacov+dense(layers,vkdnw)"]
    code, out, _ = vkdnw(*evaluate, *mine, "--ranking", "mine", "--json")
    assert code == 0
    assert {r["ranking"] for r in json.loads(out)["rows"]} == {"mine"}
    for text, message in (
        ("mine=zen", "'zen' is not known. Known are"),
        ("mine=", "position 5"),
        ("jacov=flops", "'jacov' is a value or an aggregate already"),
    ):
        code, out, err = vkdnw(*evaluate, "--aggregate", text)
        assert (code, out) == (2, "")
        assert message in err


def test_evaluate_puts_the_papers_numbers_beside(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    chosen = ["--dataset", "cifar10", "--ranking", "vkdnw_agg", "--bootstrap", 0]
    code, out, _ = vkdnw("evaluate", scores, "--truth", truth, *chosen, "--paper")
    assert code == 0
    lines = [line for line in out.splitlines() if "vkdnw_agg" in line]
    cells = re.split(r"\s{2,}", lines[0].strip())
    assert cells[1] == "cifar10"
    for value, paper, difference in (cells[3:6], cells[6:9], cells[9:12]):
        assert float(difference) == pytest.approx(float(value) - float(paper), abs=0.0011)
    assert [cells[4], cells[7], cells[10]] == ["0.750", "0.919", "0.785"]


def test_evaluate_tells_the_spread_over_seeds(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    code, out, _ = vkdnw("evaluate", scores, "--truth", truth, "--bootstrap", 0)
    assert code == 0
    _, _, spread = out.partition("Each seed by itself")
    assert "vkdnw_agg" in spread
    assert "+-" in spread


def test_export_writes_what_is_read_in_place_of_a_run(
    vkdnw: Vkdnw, scores: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.csv"
    code, out, _ = vkdnw("export", scores, "--out", copy)
    assert code == 0
    assert out.startswith(f"{copy}: 60 rows")
    assert str(read(copy)) == str(read(scores))  # as text, in which NaN equals NaN
    code, _, err = vkdnw("export", scores, "--out", tmp_path / "copy.parquet")
    assert code == 1
    assert "ends in .csv or .csv.gz" in err


def test_predict_judges_every_model_on_the_rest(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    predict = ["predict", scores, "--truth", truth, "--train", 20, "--fits", 2]
    code, out, _ = vkdnw(*predict, "--json")
    assert code == 0
    results = {(r["ranking"], r["dataset"]): r for r in json.loads(out)["rows"]}
    models = ["graf_m", "vkdnw_m", "vkdnw_zcs_m", "vkdnw_zcs_graf_m"]
    assert results.keys() == {(m, d) for m in models for d in ("cifar10", "cifar100")}
    assert all((r["n"], r["seeds"]) == ([10, 10], 2) for r in results.values())
    code, out, _ = vkdnw(*predict, "--model", "vkdnw_m", "--dataset", "cifar10", "--paper")
    assert code == 0
    assert "vkdnw_m" in out
    assert "0.647" in out
    assert "graf_m" not in out


def test_predict_says_how_many_it_is_fitted_to(
    vkdnw: Vkdnw, scores: Path, truth: Path, tmp_path: Path
) -> None:
    """NASWOT is known of 25 of the 30 alone, so models that see it are fitted to these."""
    part = tmp_path / "part.csv"
    write(
        part,
        [
            replace(e, values={**e.values, "naswot": 1.0}) if e.architecture in few else e
            for few in [ARCHITECTURES[:25]]
            for e in read(scores)
        ],
    )
    code, out, err = vkdnw("predict", part, "--truth", truth, "--train", 20, "--fits", 1, "--json")
    assert code == 0
    assert "vkdnw_zcs_m: 25 of 30 architectures have all its features" in err
    assert "graf_m: " not in err.replace("vkdnw_zcs_graf_m: ", "")
    counts = {r["ranking"]: r["n"] for r in json.loads(out)["rows"]}
    assert (counts["vkdnw_m"], counts["vkdnw_zcs_m"]) == ([10], [5])


def test_predict_says_what_it_lacks(vkdnw: Vkdnw, truth: Path, tmp_path: Path) -> None:
    table = tmp_path / "scores.csv"
    write(table, [Evaluation(a, a, 0, {"zen": 1.0}, (), 0.1) for a in ARCHITECTURES])
    predict = ["predict", table, "--truth", truth, "--fits", 1]
    code, _, err = vkdnw(*predict, "--train", 20, "--model", "vkdnw_m")
    assert code == 1
    assert "no VKDNW with its deciles" in err
    code, _, err = vkdnw(*predict)
    assert code == 1
    assert "train must lie in 1 to 28" in err
    code, _, err = vkdnw(*predict, "--model", "linear")
    assert code == 2
    assert "'linear' is not known. Known are graf_m" in err


def test_plot_draws_what_a_table_tells(
    vkdnw: Vkdnw, scores: Path, truth: Path, tmp_path: Path
) -> None:
    chosen = ["--ranking", "single", "--ranking", "vkdnw_agg", "--dataset", "cifar10"]
    folder = tmp_path / "plots"
    code, out, err = vkdnw("plot", scores, "--truth", truth, "--out", folder, *chosen)
    assert code == 0
    names = {"correlation.png", "ranks_cifar10.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert set(out.split()) == {str(folder / name) for name in names}
    assert "drawn from a run's folder" in err
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps([{"proxy": "vkdnw_agg", "times vkdnw": 1.6}]))
    draw = ["plot", scores, "--truth", truth, "--out", folder, "--sample", 20, "--costs", costs]
    assert vkdnw(*draw, *chosen)[0] == 0
    assert (folder / "cost_cifar10.png").exists()
    code, _, err = vkdnw(*draw[:-1], truth)
    assert code == 2
    assert "holds no costs of proxies" in err
    code, _, err = vkdnw("plot", scores, "--truth", truth, "--out", folder, "--format", "bmp")
    assert code == 2
    assert "'bmp' is not png, svg or pdf" in err


def test_scores_of_another_space_are_compared_with_a_loss(vkdnw: Vkdnw, tmp_path: Path) -> None:
    """Equal networks share the figure of one of their strings; less is better."""
    table = tmp_path / "truth.csv"
    table.write_text("arch,loss\n22212202,0.1\n11111111,0.2\n00000000,3\n")
    values = {"22212220": 3.0, "11111111": 2.0, "00000000": 1.0}
    write(
        tmp_path / "scores.csv",
        [Evaluation(arch, arch, 0, {"vkdnw": value}, (), 0.1) for arch, value in values.items()],
    )
    arguments = ("evaluate", tmp_path / "scores.csv", "--truth", table, "--space", "nb_macro")
    code, out, _ = vkdnw(*arguments, "--dataset", "loss:lower", "--json")
    assert code == 0
    (result,) = json.loads(out)["rows"]
    assert (result["n"], result["kendall"], result["ndcg"]) == (3, 1.0, "nan")
    code, _, error = vkdnw(*arguments, "--dataset", "loss:less")
    assert code == 2
    assert "after ':' comes percent, higher, lower" in error.replace("\n", " ")


def test_predict_says_what_few_trainings_are_worth(vkdnw: Vkdnw, scores: Path, truth: Path) -> None:
    predict = ["predict", scores, "--truth", truth, "--by", "flops", "--fits", 2]
    spend = ["--strategy", "random", "--strategy", "improve", "--dataset", "cifar10"]
    code, out, _ = vkdnw(*predict, *spend, "--train", "4,8", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [(r["strategy"], r["trained"]) for r in rows] == [
        ("random", 4),
        ("random", 8),
        ("improve", 4),
        ("improve", 8),
    ]
    assert all(r["regret"] >= 0 and r["networks"] <= 30 for r in rows)
    code, out, _ = vkdnw(*predict, *spend, "--train", "4")
    assert code == 0
    assert "flops alone" in out
    for options, message in (
        (["--strategy", "luck"], "'luck' is not known. Known are random, prior, improve"),
        (["--strategy", "random", "--train", "4,x"], "is no list of whole numbers"),
        (["--strategy", "random", "--train", "29"], "must lie in 2 to"),
        (["--train", "4,8"], "--strategy takes more"),
    ):
        code, _, err = vkdnw(*predict, *options)
        assert code == 2
        assert message in " ".join(err.replace("│", " ").split())


def test_predict_says_which_network_to_train_next(
    vkdnw: Vkdnw, scores: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.csv"
    trained = ARCHITECTURES[:3]
    mine.write_text("arch,mine\n" + "".join(f"{a},{90 + k}\n" for k, a in enumerate(trained)))
    code, out, _ = vkdnw("predict", scores, "--truth", mine, "--by", "flops", "--next", 2, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["about"]["trained"] == 3
    assert [row["order"] for row in found["rows"]] == [1, 2]
    assert not {row["architecture"] for row in found["rows"]} & set(trained)
