"""The example that trains: the path from a search to two accuracies."""

import importlib.util
from pathlib import Path

import pytest

from tests.search.evolution.fakes import FakeSearch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_found_network.py"


@pytest.mark.slow
def test_a_found_and_a_random_network_are_trained(tmp_path, capsys, monkeypatch):
    pytest.importorskip("skorch", reason="the extra vkdnw[examples] is not installed")
    spec = importlib.util.spec_from_file_location("train_found_network", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    images, labels = example.digits()
    assert images.shape == (1797, 3, 32, 32)
    assert (images.min(), images.max()) == (-1.0, 1.0)
    monkeypatch.setattr(example, "digits", lambda: (images[:200], labels[:200]))
    FakeSearch(str(tmp_path), plan={"evaluations": 12}).run_here()
    example.main(tmp_path, epochs=1)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "accuracy" in line]
    (found, cost, *_), (random, other, *_) = lines
    assert (found, random) == ("found", "random")
    assert float(other) == pytest.approx(float(cost), rel=0.05)
