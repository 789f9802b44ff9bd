"""The wheel for others holds a library for AVX2 and one for AVX-512 (`make wheel-test`)."""

import importlib
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch

from vkdnw.ops import build_facts, library
from vkdnw.search.cluster.machine_identity import fingerprint
from vkdnw.search.configuration import versions

BACKEND = Path(__file__).resolve().parents[2] / "build_backend"
AVX512 = library.LIBRARY.with_name("_ops_avx512.so")
of_a_wheel = pytest.mark.skipif(
    not AVX512.is_file(), reason="this install was built for one machine: make wheel-test"
)


@pytest.fixture
def cmake_build(monkeypatch):
    pytest.importorskip("setuptools", "77", reason="the build tools: pip install setuptools")
    monkeypatch.syspath_prepend(BACKEND)
    return importlib.import_module("cmake_build")


@pytest.mark.parametrize(
    ("asked", "libraries"),
    [
        (None, {"_ops": "native"}),
        ("x86-64-v3", {"_ops": "x86-64-v3"}),
        ("portable", {"_ops": "x86-64-v3", "_ops_avx512": "x86-64-v4"}),
    ],
)
def test_what_is_built(cmake_build, monkeypatch, asked, libraries):
    monkeypatch.delenv("VKDNW_NATIVE_ARCH", raising=False)
    if asked is not None:
        monkeypatch.setenv("VKDNW_NATIVE_ARCH", asked)
    assert cmake_build.libraries() == libraries


def macros(arch: str) -> set[str]:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, which expands -march")
    command = [compiler, f"-march={arch}", "-dM", "-E", "-x", "c++", "/dev/null"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"this g++ is of another machine: it knows no -march={arch}")
    return {line.split()[1] for line in listed.stdout.splitlines()}


def test_the_library_for_avx512_asks_for_what_the_compiler_uses():
    more = macros("x86-64-v4") - macros("x86-64-v3")
    assert more == {f"__{feature.upper()}__" for feature in build_facts.X86_64_V4}


@of_a_wheel
def test_the_wheel_tells_which_library_computes():
    library.load()
    loaded = library.fastest()
    avx512 = build_facts.running_cpu_features() >= build_facts.X86_64_V4
    assert loaded == (AVX512 if avx512 else library.LIBRARY)
    assert str(loaded) in torch.ops.loaded_libraries
    assert fingerprint()["native library"].startswith(loaded.name)
    assert versions()["ops"] == (f"native, {AVX512.name}" if avx512 else "native")


@of_a_wheel
def test_the_wheel_is_tagged_for_every_linux_that_it_runs_on():
    tags = metadata.distribution("vkdnw").read_text("WHEEL")
    assert "manylinux" in tags
    assert "-linux_" not in tags
