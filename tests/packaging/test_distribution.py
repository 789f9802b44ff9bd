"""The sdist is a whole source tree, and the wheel made of it is a whole package."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOOK = "import sys, vkdnw_backend as backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def source_files(*untracked: str) -> set[str]:
    """Files of the source tree that git tracks, or with `untracked` flags, those it could."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("only git knows which files belong to the source tree")
    command = [git, "ls-files", "--cached", *untracked]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def run_hook(hook: str, tree: Path, result: Path, **environment: str) -> Path:
    """Calls a hook of the build backend as a build front end would."""
    path = os.pathsep.join([str(tree / "build_backend"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", HOOK, hook, str(result)],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return result / ran.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools", "77", reason="the build tools: pip install setuptools")
    tree = tmp_path_factory.mktemp("tree")
    for name in source_files("--others", "--exclude-standard"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    return run_hook("build_sdist", tree, tmp_path_factory.mktemp("sdist"))


def test_the_sdist_holds_every_tracked_file(sdist):
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert source_files() - packed == set()


def test_the_sdist_holds_nothing_compiled(sdist):
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if name.endswith((".so", ".pyc", ".o"))]


@pytest.mark.slow
def test_the_wheel_of_the_sdist_works_where_no_source_is(sdist, tmp_path):
    pytest.importorskip("cmake", reason="the build tools: pip install cmake ninja pybind11")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    wheel = run_hook("build_wheel", tree, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(tree)
    assert {"vkdnw/_ops.so", "vkdnw/py.typed", "vkdnw/search/__init__.py"} <= names
    assert not [n for n in names if n.startswith(("search/", "tests/", "csrc/", "build_backend/"))]
    code = (
        "import vkdnw, vkdnw.search; from vkdnw.ops import library;"
        "library.load(); print(vkdnw.__file__, vkdnw.search.__file__)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert all(file.startswith(str(tmp_path / "installed")) for file in ran.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("why", ["asked for", "no compiler"])
def test_a_wheel_without_kernels_scores_by_plain_operations(sdist, tmp_path, why):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    given = {"VKDNW_PLAIN": "1"} if why == "asked for" else {"PATH": "/nonexistent", "CXX": ""}
    wheel = run_hook("build_wheel", tree, tmp_path, **given)
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(tmp_path / "installed")
    shutil.rmtree(tree)
    code = (
        "import torch, vkdnw; model = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval();"
        "print(vkdnw.__file__, vkdnw.score(model, torch.randn(8, 4)))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(tmp_path / "installed"))
    assert "PlainOpsWarning" in ran.stderr
