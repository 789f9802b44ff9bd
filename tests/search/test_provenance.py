"""A run records where a space and a proxy of one's own come from, and says when they changed."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vkdnw import search
from vkdnw.proxies import PROXIES
from vkdnw.search import provenance
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run as command
from vkdnw.search.spaces.nb201 import NB201

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {"sample": 2, "batch_size": 2, "resolution": 8, "workers": 0}
PROXY = "own_proxy:confidence"


def forget_the_examples() -> None:
    for module in ("own_proxy", "staircase_space"):
        sys.modules.pop(module, None)
    for name in [name for name, each in PROXIES.items() if each.origin == "own_proxy"]:
        PROXIES.remove(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the examples, from which they are imported."""
    for name in ("own_proxy.py", "staircase_space.py"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    forget_the_examples()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget_the_examples()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def searched(folder: Path, proxies: str = f"{PROXY},synflow", **changes: object) -> search.Run:
    arguments = {**SMALL, "progress": False, "proxies": proxies, **changes}
    return search.enumerate("staircase_space:Staircase", folder / "run", **arguments)


def test_what_is_of_this_package_is_known_by_its_version() -> None:
    assert provenance.of_space(NB201()) == {}
    assert provenance.of_proxies(["vkdnw", "synflow", "flops"]) == {}


def test_an_installed_package_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    from hypothesis.strategies import SearchStrategy

    monkeypatch.setattr(SearchStrategy, "name", "foreign", raising=False)
    told = str(provenance.of_space(object.__new__(SearchStrategy))["space foreign"])
    assert f"hypothesis {version('hypothesis')}, " in told
    assert ".py, SHA-256 " in told


def test_what_was_typed_in_is_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = {"__name__": "__main__"}
    exec("class Typed:\n    name = 'typed'", namespace)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    told = provenance.of_space(namespace["Typed"]())
    assert told == {"space typed": "__main__:Typed, typed in, in no file"}


def test_a_run_keeps_where_the_space_and_the_proxies_come_from(folder: Path) -> None:
    run = searched(folder)
    expected = {
        "space staircase": "staircase_space:Staircase, staircase_space.py, "
        f"SHA-256 {digest(folder / 'staircase_space.py')}",
        f"proxy {PROXY}": "own_proxy:confidence, own_proxy.py, "
        f"SHA-256 {digest(folder / 'own_proxy.py')}",
    }
    assert run.own_code == expected
    assert searched(folder, proxies="synflow", sample=3).own_code == expected


def test_it_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = searched(folder)
    told = f"staircase_space.py, SHA-256 {digest(folder / 'staircase_space.py')}"
    assert command(app, ["top", str(run.folder)]) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert command(app, ["top", str(run.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["about"]["own_code"] == run.own_code


def test_a_proxy_that_changed_is_told_of(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = searched(folder).own_code[f"proxy {PROXY}"]
    searched(folder, proxies="synflow", sample=3)  # a session without it forgets nothing
    file = folder / "own_proxy.py"
    file.write_text(file.read_text() + "# other code\n")
    forget_the_examples()
    after = searched(folder, sample=4, progress=True).own_code[f"proxy {PROXY}"]
    assert after != before
    said = " ".join(capfd.readouterr().err.split())
    assert f"since the last session, proxy {PROXY} was {before} and is {after}; scores" in said
    assert "space staircase" not in said
