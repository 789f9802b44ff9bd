"""Spaces that other packages make known by name."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.spaces import registry

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of `pip install ./examples`: the modules, and the entry points of the project."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    lines = []
    for group, names in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in names.items())]
    info = tmp_path / "vkdnw_examples-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(EXAMPLES)])


def test_a_space_of_another_package_goes_by_name(installed: None, tmp_path: Path, capsys) -> None:
    assert "staircase" in registry.names()
    out = ["--out", str(tmp_path / "run"), "--json"]
    options = ["--sample", "3", "--batch-size", "4", "--resolution", "8", "--workers", "2"]
    assert run(app, ["search", "staircase", *options, *out]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3
    assert run(app, ["search", "--help"]) == 0
    assert "staircase" in capsys.readouterr().out
