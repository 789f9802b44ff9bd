"""The build finds the torch that is installed, and asks for one only where there is none."""

import importlib
import os
import sys
import sysconfig
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[2] / "build_backend"


@pytest.fixture
def target_torch(monkeypatch, tmp_path):
    """The module, in a world where no environment holds a torch."""
    monkeypatch.syspath_prepend(BACKEND)
    importlib.import_module("vkdnw_backend")
    module = importlib.import_module("target_torch")
    for variable in ("VKDNW_TORCH_DIR", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sysconfig, "get_path", lambda kind: str(tmp_path / "target"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "build")])
    return module


def install(folder: Path, version: str = "2.13.0+cpu", cuda: str | None = None) -> Path:
    """A torch with only the files that the build reads."""
    root = folder / "torch"
    (root / "include" / "torch").mkdir(parents=True)
    (root / "version.py").write_text(
        "from typing import Optional\n"
        f"__version__ = '{version}'\n"
        f"cuda: Optional[str] = {cuda!r}\n"
        "hip: Optional[str] = None\n"
    )
    return root


def test_version_and_cuda_are_read_from_the_folder(target_torch, tmp_path):
    root = install(tmp_path, "2.13.0+cu126", "12.6")
    assert target_torch.read(root) == target_torch.Torch(root, "2.13.0+cu126", "12.6")


def test_a_cpu_build_has_no_cuda(target_torch, tmp_path):
    assert target_torch.read(install(tmp_path)).cuda is None


def test_a_torch_without_headers_is_none(target_torch, tmp_path):
    root = install(tmp_path)
    (root / "include" / "torch").rmdir()
    assert target_torch.read(root) is None


def test_the_target_comes_before_the_build_environment(target_torch, tmp_path):
    install(tmp_path / "build", "2.14.0")
    wanted = install(tmp_path / "target", "2.12.1")
    assert target_torch.find().root == wanted


def test_the_build_environment_serves_where_the_target_has_none(target_torch, tmp_path):
    wanted = install(tmp_path / "build", "2.14.0")
    assert target_torch.in_target() is None
    assert target_torch.find().root == wanted


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_activated_environment_is_a_target(target_torch, tmp_path, monkeypatch, variable):
    packages = f"lib/python{sysconfig.get_python_version()}/site-packages"
    wanted = install(tmp_path / "env" / packages)
    monkeypatch.setenv(variable, str(tmp_path / "env"))
    assert target_torch.in_target().root == wanted


def test_a_virtual_environment_on_path_is_a_target(target_torch, tmp_path, monkeypatch):
    packages = f"lib/python{sysconfig.get_python_version()}/site-packages"
    wanted = install(tmp_path / "env" / packages)
    monkeypatch.setenv("PATH", os.pathsep.join(["/usr/bin", str(tmp_path / "env" / "bin")]))
    assert target_torch.in_target() is None
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert target_torch.in_target().root == wanted


def test_a_torch_that_is_too_old_is_not_built_against(target_torch, tmp_path):
    install(tmp_path / "target", "2.10.1")
    assert target_torch.in_target() is None
    with pytest.raises(target_torch.TorchNotFoundError, match=r"torch 2\.10\.1 in .* is too old"):
        target_torch.find()


def test_no_torch_says_where_it_looked_and_what_to_run(target_torch, tmp_path):
    with pytest.raises(target_torch.TorchNotFoundError) as raised:
        target_torch.find()
    assert str(tmp_path / "target") in str(raised.value)
    assert "pip install 'torch>=2.11'" in str(raised.value)


def test_the_named_folder_overrides_the_search(target_torch, tmp_path, monkeypatch):
    install(tmp_path / "target")
    wanted = install(tmp_path / "elsewhere", "2.11.0")
    monkeypatch.setenv("VKDNW_TORCH_DIR", str(wanted))
    assert target_torch.find().root == wanted


def test_a_named_folder_without_torch_is_an_error(target_torch, tmp_path, monkeypatch):
    install(tmp_path / "target")
    monkeypatch.setenv("VKDNW_TORCH_DIR", str(tmp_path / "nothing"))
    with pytest.raises(target_torch.TorchNotFoundError, match=r"VKDNW_TORCH_DIR=.*nothing"):
        target_torch.find()


@pytest.mark.parametrize(
    "hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable"]
)
def test_the_backend_requires_torch_only_where_the_target_has_none(
    target_torch, tmp_path, monkeypatch, hook
):
    backend = importlib.import_module("vkdnw_backend")
    # setuptools' own answer would run setup.py, which is not the matter here.
    monkeypatch.setattr(f"setuptools.build_meta.{hook}", lambda settings: ["from setuptools"])
    assert getattr(backend, hook)() == ["from setuptools", "torch>=2.11"]
    install(tmp_path / "target")
    assert getattr(backend, hook)() == ["from setuptools"]
