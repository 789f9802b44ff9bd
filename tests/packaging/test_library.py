"""The package imports without its library, and the first use names the fault and the command to
run."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vkdnw
from vkdnw.ops import build_facts, library
from vkdnw.ops.library import NativeLibraryError

FACTS = build_facts.BuildFacts(
    version="0.1.0",
    compiler="GNU 12.2.0",
    cxx_flags="-O3",
    native_arch="native",
    cpu_features=("sse2", "avx2", "avx512f"),
    torch_version="2.13.0+cpu",
    torch_target="2.11",
    torch_cuda="",
    cuda_mode="AUTO",
    cuda_reason="no CUDA kernels: no nvcc was found",
    cuda_compiler="",
    cuda_archs=(),
    python="3.11.7",
    pybind11="3.1.0",
)
CPU = frozenset({"sse2", "avx2", "avx512f", "fma"})


def copy_of_package(folder: Path) -> Path:
    """The Python files of vkdnw, and nothing that was compiled."""
    source = Path(vkdnw.__file__).parent
    for file in source.rglob("*.py"):
        target = folder / "vkdnw" / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return folder / "vkdnw"


def run_python(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)


LOAD = """
import vkdnw
from vkdnw.ops import library
print(vkdnw.__file__)
try:
    library.load()
except library.NativeLibraryError as error:
    print(error)
"""


def test_import_works_without_the_library_and_the_first_use_names_the_remedy(tmp_path):
    package = copy_of_package(tmp_path)
    ran = run_python(LOAD, tmp_path)
    assert ran.returncode == 0, ran.stderr
    imported, message = ran.stdout.splitlines()
    assert Path(imported).parent == package
    assert f"{package / '_ops.so'} does not exist" in message
    assert "pip install" in message


def test_a_source_tree_that_hides_an_installed_package_is_named(tmp_path):
    package = copy_of_package(tmp_path / "tree")
    (tmp_path / "tree" / "vkdnw.egg-info").mkdir()
    (tmp_path / "tree" / "vkdnw.egg-info" / "PKG-INFO").write_text("Name: vkdnw\nVersion: 0.1.0\n")
    installed = tmp_path / "site-packages"
    (installed / "vkdnw").mkdir(parents=True)
    (installed / "vkdnw" / "_ops.so").touch()
    (installed / "vkdnw-0.1.0.dist-info").mkdir()
    (installed / "vkdnw-0.1.0.dist-info" / "METADATA").write_text("Name: vkdnw\nVersion: 0.1.0\n")
    ran = run_python(LOAD, tmp_path / "tree", installed)
    assert ran.returncode == 0, ran.stderr
    message = ran.stdout.splitlines()[1]
    assert f"imports vkdnw from the source tree {package}" in message
    assert f"the installed package with it is {installed / 'vkdnw'}" in message
    assert "call `pytest` rather than `python -m pytest`" in message


def test_the_ops_are_registered():
    library.load()
    assert torch.ops.vkdnw.jacobian_columns_ is not None


def test_many_threads_load_once(monkeypatch, tmp_path):
    calls = []

    def slow_load(path):
        calls.append(path)
        time.sleep(0.05)

    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    library.LIBRARY.touch()
    monkeypatch.setattr(torch.ops, "load_library", slow_load)
    threads = [threading.Thread(target=library.load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [library.LIBRARY]


def test_a_failure_is_not_remembered(monkeypatch, tmp_path):
    good = library.LIBRARY
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    for _ in range(2):
        with pytest.raises(NativeLibraryError, match="does not exist"):
            library.load()
    monkeypatch.setattr(library, "LIBRARY", good)
    library.load()


def test_a_library_that_the_linker_refuses_names_torch_and_the_cause(monkeypatch, tmp_path):
    broken = tmp_path / "_ops.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(library, "LIBRARY", broken)
    with pytest.raises(NativeLibraryError, match="does not load with torch") as raised:
        library.load()
    assert torch.__version__ in str(raised.value)
    assert isinstance(raised.value.__cause__, OSError)


def test_a_library_for_another_python_says_so(monkeypatch):
    def no_module(name):
        raise ImportError(f"No module named {name}")

    monkeypatch.setattr(build_facts.importlib, "import_module", no_module)
    with pytest.raises(NativeLibraryError, match="built for another Python"):
        library.read_facts()


def test_a_library_that_fits_has_no_mismatch():
    assert library.mismatch(FACTS, "2.13.0+cpu", CPU) is None


@pytest.mark.parametrize("version", ["2.11.0", "2.11.0a0+git1234", "2.20.1", "3.0.0+cu140"])
def test_every_torch_from_the_target_on_fits(version):
    assert library.mismatch(FACTS, version, CPU) is None


@pytest.mark.parametrize("version", ["2.10.2", "1.13.1+cu117"])
def test_an_older_torch_is_refused_by_version(version):
    problem = library.mismatch(FACTS, version, CPU)
    assert f"torch {version} is running" in problem
    assert "pip install 'torch>=2.11'" in problem


def test_instructions_that_the_cpu_lacks_are_named():
    problem = library.mismatch(FACTS, "2.13.0", CPU - {"avx2", "avx512f"})
    assert "VKDNW_NATIVE_ARCH=native, and this CPU lacks avx2, avx512f" in problem
    assert "VKDNW_NATIVE_ARCH=x86-64-v3" in problem


def test_the_cpu_is_checked_before_the_library_is_touched(monkeypatch, tmp_path):
    unloadable = tmp_path / "_ops.so"
    unloadable.touch()
    facts = replace(FACTS, cpu_features=("an_instruction_of_the_future",))
    monkeypatch.setattr(library, "LIBRARY", unloadable)
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    with pytest.raises(NativeLibraryError, match="lacks an_instruction_of_the_future"):
        library.load()


# ---- the two libraries of a wheel for others --------------------------------------------------

AVX2 = frozenset({"sse2", "avx2", "fma"})
AVX512 = AVX2 | build_facts.X86_64_V4


def chosen_of(names: list[str], native_arch: str, cpu: frozenset[str] | None, folder: Path) -> str:
    for name in names:
        (folder / name).touch()
    facts = replace(FACTS, native_arch=native_arch)
    return library.chosen(folder / "_ops.so", facts, cpu).name


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (AVX512, "_ops_avx512.so"),
        (AVX2, "_ops.so"),
        (AVX2 | {"avx512f"}, "_ops.so"),  # of the first CPUs with AVX-512: not all of it
        (None, "_ops.so"),  # a system that does not tell
    ],
)
def test_the_cpu_decides_which_library_of_a_wheel_is_loaded(tmp_path, cpu, expected):
    names = ["_ops.so", "_ops_avx512.so"]
    assert chosen_of(names, "x86-64-v3", cpu, tmp_path) == expected


def test_a_build_for_one_machine_has_one_library(tmp_path):
    assert chosen_of(["_ops.so"], "x86-64-v3", AVX512, tmp_path) == "_ops.so"


def test_what_an_earlier_build_left_is_not_loaded(tmp_path):
    names = ["_ops.so", "_ops_avx512.so"]
    assert chosen_of(names, "native", AVX512, tmp_path) == "_ops.so"


# ---- plain torch operations in the place of the library ---------------------------------------

SCORES = """
import torch, vkdnw
torch.manual_seed(0)
layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten()]
model = torch.nn.Sequential(*layers, torch.nn.Linear(288, 5)).eval()
images = torch.randn(4, 3, 8, 8)
for _ in range(2):
    print(vkdnw.score(model, images).vkdnw)
print(float(vkdnw.proxies.compute(["jacov"], model, vkdnw.proxies.Inputs(images), seed=0)["jacov"]))
"""


def test_everything_works_without_the_library_after_one_warning(tmp_path):
    copy_of_package(tmp_path)
    without, within = run_python(SCORES, tmp_path), run_python(SCORES)
    assert without.returncode == 0, without.stderr
    assert "Warning: plain" not in within.stderr
    assert without.stderr.count("PlainOpsWarning: plain torch operations compute") == 1
    assert "does not exist. Build it: pip install" in without.stderr
    found, expected = (map(float, ran.stdout.split()) for ran in (without, within))
    assert list(found) == pytest.approx(list(expected), rel=1e-4)  # float32 through three layers


def test_the_library_may_be_required(tmp_path, monkeypatch):
    monkeypatch.setenv("VKDNW_REQUIRE_NATIVE", "1")
    copy_of_package(tmp_path)
    ran = run_python(SCORES, tmp_path)
    assert ran.returncode == 1
    assert "NativeLibraryError: VKDNW_REQUIRE_NATIVE=1 is set, and vkdnw has no" in ran.stderr
    assert run_python(SCORES).returncode == 0


def test_plain_operations_may_be_chosen_and_are_not_warned_of(monkeypatch, recwarn):
    assert library.native()
    monkeypatch.setenv("VKDNW_PLAIN", "1")
    assert not library.native()
    monkeypatch.setenv("VKDNW_PLAIN", "0")
    assert library.native()
    assert not recwarn.list


def test_a_lesser_cpu_gets_plain_operations(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    library.LIBRARY.touch()
    facts = replace(FACTS, cpu_features=("an_instruction_of_the_future",))
    monkeypatch.setattr(library, "read_facts", lambda: facts)
    with pytest.warns(library.PlainOpsWarning, match=r"lacks an_instruction.*-v3 pip install"):
        assert not library.native()


def test_a_library_that_should_load_and_does_not_is_no_reason_for_less(monkeypatch, tmp_path):
    """It is a fault with a remedy; whoever wants plain operations says so."""
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_ops.so")
    library.LIBRARY.write_bytes(b"no library")
    assert library.native()
    with pytest.raises(NativeLibraryError, match=r"or go on without it, .*: VKDNW_PLAIN=1"):
        library.load()


def test_another_system_than_linux_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(library.sys, "platform", "darwin")
    assert "built on Linux alone, and this is darwin" in library.explain_missing(tmp_path)


@pytest.mark.parametrize("label", ["flags", "Features"])
def test_cpu_features_come_from_cpuinfo(tmp_path, label):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        f"processor\t: 0\nmodel name\t: A CPU\n{label}\t\t: sse2 avx2\n\nprocessor\t: 1\n"
    )
    assert build_facts.running_cpu_features(cpuinfo) == {"sse2", "avx2"}


def test_a_system_that_does_not_tell_is_not_refused(monkeypatch, tmp_path):
    assert build_facts.running_cpu_features(tmp_path / "none") is None
    monkeypatch.setattr(build_facts, "running_cpu_features", lambda: None)
    assert build_facts.missing_cpu_features(FACTS) == ()


def test_the_compiler_flags_and_the_required_instructions_agree():
    facts = library.read_facts()
    assert "-ffast-math" not in facts.cxx_flags  # a NaN must propagate
    assert f"-march={facts.native_arch}" in facts.cxx_flags
    assert build_facts.missing_cpu_features(facts) == ()
