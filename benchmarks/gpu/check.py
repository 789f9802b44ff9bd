"""`make gpu-check`: builds with CUDA, tests, sanitises and measures, in under nine minutes.

It takes a machine with a GPU, torch, nvcc, cmake, ninja, pybind11 and pytest, no network, and
installs nothing: the package is put together from links in build/gpu. What it found goes to
benchmarks/results/<gpu>.md and .json. Rehearsal where there is no GPU:

    python benchmarks/gpu/check.py --device cpu --out build/gpu-rehearsal
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from report import Record, Step

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu"
PACKAGE = BUILD / "package"
SECONDS = 530.0  # of the whole check
DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
SANITIZED = "test_a_batch_is_each_matrix_alone or test_small_eigenvalues or test_jacobian_columns"


class Check:
    """Runs the steps one after the other, against one clock."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.begun = time.monotonic()
        self.record = Record(*_machine(device))

    def left(self) -> float:
        return SECONDS - (time.monotonic() - self.begun)

    def run(self, title: str, command: list[str], at_most: float) -> Step:
        """Runs a command for at most so many seconds, and records it."""
        shown = " ".join(_readable(command))
        print(f"== {title}: {shown}", flush=True)
        step = Step(title, shown, "passed")
        self.record.steps.append(step)
        begun = time.monotonic()
        try:
            ran = subprocess.run(
                command,
                cwd=ROOT,
                env=_environment(self.device),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=max(1.0, min(at_most, self.left())),
            )
            output, step.status = ran.stdout, "passed" if ran.returncode == 0 else "failed"
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else ""
            step.status = "out of time"
        step.seconds = time.monotonic() - begun
        step.figures = _figures(output)
        lines = [line for line in output.splitlines() if line.strip()]
        said = [line for line in lines if not line.startswith("{")]
        step.note = said[-1].strip("= ") if said else ""
        if step.status != "passed":
            print("\n".join(lines[-60:]), flush=True)
        print(f"   {step.status} after {step.seconds:.0f} s. {step.note}", flush=True)
        return step

    def leave_out(self, title: str, why: str) -> None:
        self.record.steps.append(Step(title, "-", "left out", note=why))
        print(f"== {title}: left out: {why}", flush=True)


def _readable(command: list[str]) -> list[str]:
    """The command as it would be typed in the root of the tree."""

    def readable(part: str) -> str:
        return part.replace(f"{ROOT}/", "").replace(str(ROOT), ".")

    return ["python" if part == sys.executable else readable(part) for part in command]


def _environment(device: str) -> dict[str, str]:
    path = os.pathsep.join([str(PACKAGE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    rehearsal = {"VKDNW_GPU_TESTS": "cpu"} if device == "cpu" else {}
    return os.environ | rehearsal | {"PYTHONPATH": path.rstrip(os.pathsep)}


def _figures(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"figure"')]


def _machine(device: str) -> tuple[str, dict[str, str]]:
    import torch

    versions = {
        "torch": torch.__version__,
        "CUDA of torch": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
        "Python": platform.python_version(),
        "nvcc": _first_line_with("release", [_nvcc() or "nvcc", "--version"]),
        "driver": _first_line_with("", DRIVER.split()),
        "commit": _first_line_with("", ["git", "-C", str(ROOT), "rev-parse", "HEAD"]),
    }  # fmt: skip
    if device == "cpu":
        return "rehearsal on a CPU", versions
    if not torch.cuda.is_available():
        sys.exit(
            f"torch {torch.__version__} finds no CUDA device; --device cpu rehearses the check"
        )
    versions["GPU memory"] = f"{torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
    return torch.cuda.get_device_name(0), versions


def _first_line_with(text: str, command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return next((line.strip() for line in said.splitlines() if text in line), "-")


def _nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which(f"{home}/bin/nvcc")


def _tool(name: str) -> str:
    """A build tool: the Python package's if there is one, else what PATH has."""
    if importlib.util.find_spec(name) is not None:
        module = __import__(name)
        folder = getattr(module, "CMAKE_BIN_DIR", None) or getattr(module, "BIN_DIR", None)
        if folder:
            return str(Path(folder) / name)
    return shutil.which(name) or name


def _pybind11() -> str:
    command = [sys.executable, "-m", "pybind11", "--cmakedir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _architecture() -> str:
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}"


def build(check: Check) -> bool:
    """Configures, compiles, and puts the package together from links."""
    cuda = ["-DVKDNW_CUDA=OFF"]
    if check.device != "cpu":
        cuda = ["-DVKDNW_CUDA=ON", f"-DVKDNW_CUDA_ARCHS={_architecture()}"]
    configure = [
        _tool("cmake"), "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}", *cuda,
        f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={_pybind11()}",
    ]  # fmt: skip
    if check.run("configure", configure, 60).status != "passed":
        return False
    compiling = check.run("build", [_tool("cmake"), "--build", str(BUILD)], 240)
    if compiling.status != "passed":
        return False
    shutil.rmtree(PACKAGE, ignore_errors=True)
    _link(ROOT / "vkdnw", PACKAGE / "vkdnw")
    _link(ROOT / "search", PACKAGE / "vkdnw" / "search")
    for library in (BUILD / "vkdnw").glob("*.so"):
        (PACKAGE / "vkdnw" / library.name).symlink_to(library)
    return True


def _link(source: Path, target: Path) -> None:
    """The Python files of a folder, as links: no library that another build left there."""
    for file in source.rglob("*.py"):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file)


def test(check: Check) -> None:
    pytest = [sys.executable, "-P", "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    check.run("tests", [*pytest, "tests/cuda"], 150)
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(f"{home}/bin/compute-sanitizer")
    if check.device == "cpu" or sanitizer is None:
        check.leave_out("compute-sanitizer", "not on this machine")
        return
    watched = [sanitizer, "--tool", "memcheck", "--error-exitcode", "1"]
    check.run("compute-sanitizer", [*watched, *pytest, "tests/cuda", "-k", SANITIZED], 100)


def measure(check: Check) -> None:
    rehearsal = ["--small", "--repeats", "2"] if check.device == "cpu" else []
    for name, at_most in (
        ("jacobian_columns", 40.0),
        ("spectrum", 40.0),
        ("network", 100.0),
        ("sustained", 170.0),
    ):
        script = ["benchmarks/gpu/" + name + ".py", "--device", check.device]
        check.run(name, [sys.executable, *script, *rehearsal], at_most)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    check = Check(given.device)
    if build(check):
        test(check)
        measure(check)
    for path in check.record.write(given.out):
        print(f"wrote {path}")
    return int(check.record.failed)


if __name__ == "__main__":
    sys.exit(main())
