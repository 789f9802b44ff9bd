"""Pictures: their data, read back from the figures, and the files."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from vkdnw.search.plots.correlation import correlations, draw_correlations
from vkdnw.search.plots.cost import draw_cost, read_costs
from vkdnw.search.plots.figure import new_figure, save
from vkdnw.search.plots.ranks import draw_ranks
from vkdnw.search.plots.spectra import draw_spectra
from vkdnw.search.rankings.evaluation import Result, rankings_of
from vkdnw.search.rankings.metrics import Estimate, kendall
from vkdnw.search.spaces import nb201

INDEX = pd.Index(nb201.live()[:50], name="arch")
RNG = np.random.default_rng(0)
ACCURACIES = pd.Series(RNG.uniform(60, 95, 50), INDEX, name="cifar10")
COLUMNS = {
    "good": ACCURACIES + RNG.normal(0, 2, 50),
    "bad": pd.Series(RNG.normal(size=50), INDEX),
    "perfect": ACCURACIES**3,
}


def test_ranks_have_a_panel_each_in_which_the_best_are_at_the_origin():
    figure = draw_ranks(rankings_of(COLUMNS), ACCURACIES)
    tau = kendall(COLUMNS["good"].to_numpy(), ACCURACIES.to_numpy())
    assert [axes.get_title() for axes in figure.axes] == [
        f"good: tau {tau:.3f}",
        f"bad: tau {kendall(COLUMNS['bad'].to_numpy(), ACCURACIES.to_numpy()):.3f}",
        "perfect: tau 1.000",
    ]
    (mesh,) = figure.axes[2].collections
    counts = np.ma.filled(mesh.get_array(), 0)
    assert counts.sum() == 50
    assert np.count_nonzero(counts - np.diag(np.diag(counts))) == 0


def test_correlations_are_kendalls_over_common_architectures():
    fewer = COLUMNS | {"bad": COLUMNS["bad"].iloc[:30]}
    table = correlations(rankings_of(fewer))
    expected = kendall(COLUMNS["good"].to_numpy()[:30], COLUMNS["bad"].to_numpy()[:30])
    assert table.loc["good", "bad"] == table.loc["bad", "good"] == expected
    assert np.diag(table).tolist() == [1.0, 1.0, 1.0]
    figure = draw_correlations(rankings_of(fewer))
    assert f"{expected:.2f}" in [text.get_text() for text in figure.axes[0].texts]


def test_spectra_are_those_of_the_best_and_the_worst_as_shares_of_the_largest():
    spectra = {arch: [2 * accuracy, accuracy, 1.0] for arch, accuracy in ACCURACIES.items()}
    lines = draw_spectra(spectra, ACCURACIES, networks=3).axes[0].lines
    assert all(line.get_ydata()[1:].tolist() == [0.5, 1.0] for line in lines)
    drawn = sorted(0.5 / line.get_ydata()[0] for line in lines)
    ordered = sorted(ACCURACIES)
    assert drawn == pytest.approx(ordered[:3] + ordered[-3:])


def test_equal_spectra_are_drawn_once_and_those_of_zeros_not_at_all():
    spectra = {arch: [1.0, float(2 + place // 2)] for place, arch in enumerate(INDEX[:8])}
    spectra[INDEX[8]] = [0.0, 0.0]
    assert len(draw_spectra(spectra, ACCURACIES).axes[0].lines) == 4
    assert len(draw_spectra({}, ACCURACIES).axes[0].lines) == 0


def test_quality_is_drawn_against_time_and_counts_as_lines():
    estimate = Estimate(0.5, 0.4, 0.6)
    results = [
        Result(name, "cifar10", 50, 0, 0, estimate, estimate, estimate, 50)
        for name in ("flops", "vkdnw", "unknown")
    ]
    figure = draw_cost(results, {"flops": 0.0, "vkdnw": 250.0})
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert [tuple(points.get_offsets()[0]) for points in axes.collections] == [(250.0, 0.5)]
        assert [line.get_ydata()[0] for line in axes.lines] == [0.5]
        assert {text.get_text() for text in axes.texts} == {"flops", "vkdnw"}


def test_counts_that_nearly_coincide_share_a_label():
    def result(name: str, value: float) -> Result:
        estimate = Estimate(value, 0.4, 0.6)
        return Result(name, "cifar10", 50, 0, 0, estimate, estimate, estimate, 50)

    values = {"flops": 0.6, "parameters": 0.601, "layers": 0.5, "vkdnw": 0.3}
    figure = draw_cost(
        [result(*each) for each in values.items()], dict.fromkeys(values, 0.0) | {"vkdnw": 1.0}
    )
    for axes in figure.axes:
        assert sorted(line.get_ydata()[0] for line in axes.lines) == [0.5, 0.6, 0.601]
        found = {text.get_text(): text.xy[1] for text in axes.texts}
        assert found == {"flops, parameters": 0.601, "layers": 0.5, "vkdnw": 0.3}


def test_costs_are_read_from_what_the_benchmark_writes(tmp_path):
    path = tmp_path / "costs.json"
    rows = [{"proxy": name, "times vkdnw": 1.5} for name in ("vkdnw_single", "flops", "zen")]
    path.write_text(json.dumps(rows))
    costs = read_costs(path)
    assert (costs["single"], costs["zen"]) == (1.5, 1.5)
    assert costs["flops"] == costs["layers"] == 0.0  # counts follow from the string


@pytest.mark.parametrize("text", ["", "{}", '[{"proxy": "zen"}]', '{"zen": 1}'])
def test_a_file_of_something_else_is_refused_as_costs(tmp_path, text):
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"costs\.json holds no costs of proxies"):
        read_costs(path)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_figure_is_written_into_a_new_folder(tmp_path, suffix):
    path = save(draw_cost([], {}), tmp_path / "new" / f"cost.{suffix}")
    head = path.read_bytes()[:300]
    assert {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[suffix] in head


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'vkdnw\[plot\]'"):
        new_figure(1, 1)
