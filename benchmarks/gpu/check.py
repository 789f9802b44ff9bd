"""`make gpu-check`: builds with CUDA, tests, sanitises and measures.

It takes a machine with a GPU, torch, nvcc, cmake, ninja, pybind11 and pytest, no network, and
installs nothing: the package is put together from links in build/gpu. The results go to
benchmarks/results/<gpu>.md and .json, which are written again after each step. On a machine that is
lent for a short time the check goes in two parts of under four minutes each; the second adds its
steps to the record of the first, and builds only if the first did not:

    python3 benchmarks/gpu/check.py --only build,tests
    python3 benchmarks/gpu/check.py --only measure

Rehearsal where there is no GPU:

    python benchmarks/gpu/check.py --device cpu --out build/gpu-rehearsal
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from report import Record, Step

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu"
PACKAGE = BUILD / "package"
PARTS = ("build", "tests", "sanitize", "measure")
SECONDS = 230.0  # of build and tests, and of the measurements: each less than four minutes
DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
SANITIZED = (
    "test_a_batch_is_each_matrix_alone or test_small_eigenvalues or test_jacobian_columns or "
    "test_gradients_agree_with_float64 or test_masks_are_the_cpus"
)


class Check:
    """Runs the steps one after the other, against one clock, and writes the record after each."""

    def __init__(self, device: str, out: Path, seconds: float) -> None:
        self.device = device
        self.out = out
        self.begun = time.monotonic()
        self.seconds = seconds
        self.record = Record(*_machine(device)).with_earlier_steps(out)

    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.begun)

    def run(self, title: str, command: list[str], at_most: float) -> Step:
        """Runs a command for at most so many seconds, and records it."""
        shown = " ".join(_readable(command))
        print(f"== {title}: {shown}", flush=True)
        step = Step(title, shown, "passed")
        self.record.add(step)
        begun = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(self.device),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                output, _ = running.communicate(timeout=max(1.0, min(at_most, self.left())))
                step.status = "passed" if running.returncode == 0 else "failed"
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)  # the processes that it started, too
                output, _ = running.communicate()
                step.status = "out of time"
            except KeyboardInterrupt:
                os.killpg(running.pid, signal.SIGKILL)
                raise
        step.seconds = time.monotonic() - begun
        step.figures = _figures(output)
        lines = [line for line in output.splitlines() if line.strip()]
        said = [line for line in lines if not line.startswith("{")]
        step.note = said[-1].strip("= ") if said else ""
        if step.status != "passed":
            print("\n".join(lines[-60:]), flush=True)
        print(f"   {step.status} after {step.seconds:.0f} s. {step.note}", flush=True)
        self.record.write(self.out)
        return step

    def leave_out(self, title: str, why: str) -> None:
        self.record.add(Step(title, "-", "left out", note=why))
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
        "nvcc": _first_line_with("release", [find_nvcc() or "nvcc", "--version"]),
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


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which(f"{home}/bin/nvcc")


def _tool(name: str) -> str:
    """A build tool: the Python package's if there is one, else that of PATH."""
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


def check_headers() -> None:
    """Ends here where the build would fail after minutes for want of Python's headers."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        sys.exit(
            f"{header} is missing: install the headers of this Python (on Debian: apt-get install "
            f"python{sysconfig.get_python_version()}-dev)"
        )


def build(check: Check) -> bool:
    """Configures, compiles, and puts the package together from links."""
    check_headers()
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
    check.run("tests", [*pytest, "tests/cuda", "tests/proxies"], 150)


def sanitize(check: Check) -> None:
    """The kernels' tests under memcheck, racecheck and initcheck: the sizes are small."""
    pytest = [sys.executable, "-P", "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(f"{home}/bin/compute-sanitizer")
    if check.device == "cpu" or sanitizer is None:
        check.leave_out("compute-sanitizer", "not on this machine")
        return
    for tool in ("memcheck", "racecheck", "initcheck"):
        watched = [sanitizer, "--tool", tool, "--error-exitcode", "1"]
        check.run(tool, [*watched, *pytest, "tests/cuda", "-k", SANITIZED], 75)


def measure(check: Check) -> None:
    rehearsal = ["--small", "--repeats", "2"] if check.device == "cpu" else []
    for name, at_most in (
        ("jacobian_columns", 25.0),
        ("spectrum", 25.0),
        ("tape", 20.0),
        ("network", 55.0),
        ("sustained", 105.0),
    ):
        script = ["benchmarks/gpu/" + name + ".py", "--device", check.device]
        check.run(name, [sys.executable, *script, *rehearsal], at_most)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--only", type=_parts, default=PARTS, help=f"some of {','.join(PARTS)}, with commas between"
    )
    given = parser.parse_args()
    check = Check(given.device, given.out, SECONDS * (1 if len(given.only) < 3 else 3))
    if ("build" not in given.only and PACKAGE.exists()) or build(check):
        for part, run in (("tests", test), ("sanitize", sanitize), ("measure", measure)):
            if part in given.only:
                run(check)
    for path in check.record.write(given.out):
        print(f"wrote {path}")
    return int(check.record.failed)


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: expected some of {', '.join(PARTS)}")
    return parts


if __name__ == "__main__":
    sys.exit(main())
