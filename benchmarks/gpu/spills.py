"""Which CUDA kernels spill registers, for each architecture, as ptxas says; needs nvcc and no GPU.

python benchmarks/gpu/spills.py [--archs 80,90,100,120]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cmake"))

from check import find_nvcc  # noqa: E402
from refuse_spills import KERNEL, spills  # noqa: E402  (found through the line above)


def report(nvcc: str, source: Path, arch: str) -> str:
    """The report of ptxas on the kernels of one file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            nvcc, "-cubin", f"-arch=sm_{arch}", "-std=c++20", "-O3", "-Xptxas=-v",
            "--expt-relaxed-constexpr",
            f"-I{ROOT / 'csrc'}", str(source), "-o", str(Path(folder) / "kernels.cubin"),
        ]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(ran.stderr)
    return ran.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archs", default="80,90,100,120", help="with commas between")
    archs = parser.parse_args().archs.split(",")
    nvcc = find_nvcc() or sys.exit("nvcc was not found (CUDACXX, PATH, CUDA_HOME)")
    for arch in archs:
        for source in sorted((ROOT / "csrc" / "kernels" / "cuda").glob("*.cu")):
            said = report(nvcc, source, arch)
            found = spills(said)
            print(
                f"sm_{arch} {source.name}: {len(KERNEL.findall(said))} kernels, {len(found)} spill"
            )
            for line in found:
                print(f"    {line}")


if __name__ == "__main__":
    main()
