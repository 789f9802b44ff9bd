"""A score is a number to rank by, and the numbers it was made of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import vkdnw
from vkdnw import Score


@pytest.fixture
def found() -> Score:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    return vkdnw.score(network, torch.randn(5, 6))


def test_it_prints_as_one_line_that_starts_with_what_ranks(found: Score) -> None:
    line = repr(found)
    assert line.startswith(f"Score(single={found.single:.4f}, vkdnw={found.vkdnw:.4f}, layers=4")
    assert "\n" not in line
    assert len(line) < 160
    assert str(found) == line


def test_what_is_out_of_the_ordinary_is_counted_in_the_line(found: Score) -> None:
    odd = replace(found, fallback=("a",), unreached=("b", "c"))
    assert "fallback=1 parameter," in repr(odd)
    assert repr(odd).endswith("unreached=2 parameters)")


def test_notebooks_show_a_table(found: Score) -> None:
    table = found._repr_html_()
    assert table.startswith("<table>")
    assert f"{found.single:.4f}" in table
    assert table.count("<tr>") == table.count("</tr>") == 6


def test_as_a_float_it_is_what_ranks(found: Score) -> None:
    assert float(found) == found.single == found.layers + found.vkdnw


def test_as_a_dict_it_is_plain_numbers_that_json_takes(found: Score) -> None:
    read = json.loads(json.dumps(found.to_dict()))
    assert next(iter(read)) == "single"
    assert read["single"] == found.single
    assert read["eigenvalues"] == found.eigenvalues.tolist()
    assert read["fallback"] == []
    assert read["mode"] == found.mode


def test_scores_are_equal_where_all_their_numbers_are(found: Score) -> None:
    same = replace(found, eigenvalues=found.eigenvalues.clone())
    assert same == found
    assert hash(same) == hash(found)
    assert len({same, found}) == 1
    assert found != replace(found, eigenvalues=found.eigenvalues + 1e-15)
    assert found != replace(found, eigenvalues=found.eigenvalues[1:])
    assert found != found.single


def test_they_are_ordered_by_what_ranks(found: Score) -> None:
    better = replace(found, vkdnw=found.vkdnw + 1e-6)
    deeper = replace(found, layers=found.layers + 2, vkdnw=0.5)
    assert found < better < deeper
    assert deeper >= better > found
    assert max([found, deeper, better]) is deeper
    assert sorted([deeper, found, better]) == [found, better, deeper]
    with pytest.raises(TypeError):
        found < 1.0  # noqa: B015


def test_the_package_lists_what_it_offers_and_its_version() -> None:
    assert {"score", "fisher", "jacobian", "proxies", "weights", "__version__"} <= {*dir(vkdnw)}
    assert not [name for name in dir(vkdnw) if name.startswith("_") and not name.endswith("__")]
    assert all(hasattr(vkdnw, name) for name in dir(vkdnw))
    assert vkdnw.__version__[0].isdigit()
