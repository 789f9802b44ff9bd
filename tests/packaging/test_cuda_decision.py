"""VKDNW_CUDA is decided before anything is compiled, and a refusal names both sides."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "cmake" / "CudaDecision.cmake"
CMAKE = shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")

pytestmark = pytest.mark.skipif(CMAKE is None, reason="no cmake: pip install cmake")

NVCC_13 = {"VKDNW_NVCC": "/opt/cuda/bin/nvcc", "VKDNW_NVCC_VERSION": "13.0"}
NO_NVCC = {"VKDNW_NVCC": "VKDNW_NVCC-NOTFOUND", "VKDNW_NVCC_VERSION": ""}
TORCH_CPU = {"VKDNW_TORCH_VERSION": "2.13.0+cpu", "VKDNW_TORCH_CUDA": ""}
TORCH_12 = {"VKDNW_TORCH_VERSION": "2.13.0+cu126", "VKDNW_TORCH_CUDA": "12.6"}
TORCH_13 = {"VKDNW_TORCH_VERSION": "2.13.0+cu132", "VKDNW_TORCH_CUDA": "13.2"}


def decide(mode: str, *facts: dict[str, str]) -> tuple[bool, str]:
    """Whether CMake goes on, and its message, on one line."""
    variables = {"VKDNW_CUDA": mode} | {k: v for fact in facts for k, v in fact.items()}
    definitions = [f"-D{name}={value}" for name, value in variables.items()]
    ran = subprocess.run(
        [str(CMAKE), *definitions, "-P", str(SCRIPT)], capture_output=True, text=True
    )
    return ran.returncode == 0, re.sub(r"\s+", " ", ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    ("mode", "facts"),
    [
        ("AUTO", (NVCC_13, TORCH_13)),
        ("ON", (NVCC_13, TORCH_13)),
        ("COMPILE_ONLY", (NVCC_13, TORCH_13)),
        ("COMPILE_ONLY", (NVCC_13, TORCH_CPU)),
        ("COMPILE_ONLY", (NVCC_13, TORCH_12)),
    ],
)
def test_kernels_are_built(mode, facts):
    going_on, said = decide(mode, *facts)
    assert going_on
    assert "CUDA kernels from nvcc 13.0" in said


@pytest.mark.parametrize(
    ("mode", "facts", "reason"),
    [
        ("OFF", (NVCC_13, TORCH_13), "VKDNW_CUDA=OFF"),
        ("AUTO", (NO_NVCC, TORCH_13), "no nvcc was found"),
        ("AUTO", (NVCC_13, TORCH_CPU), "torch 2.13.0+cpu is a CPU build, nvcc is CUDA 13.0"),
        ("AUTO", (NVCC_13, TORCH_12), "torch 2.13.0+cu126 is built for CUDA 12.6"),
    ],
)
def test_kernels_are_left_out_with_the_reason(mode, facts, reason):
    going_on, said = decide(mode, *facts)
    assert going_on
    assert f"no CUDA kernels: {reason}" in said


@pytest.mark.parametrize(
    ("mode", "facts", "causes"),
    [
        ("ON", (NO_NVCC, TORCH_13), ["VKDNW_CUDA=ON: no nvcc was found", "set CUDACXX"]),
        ("COMPILE_ONLY", (NO_NVCC, TORCH_CPU), ["VKDNW_CUDA=COMPILE_ONLY: no nvcc was found"]),
        ("ON", (NVCC_13, TORCH_CPU), ["2.13.0+cpu is a CPU build", "build of torch for CUDA 13"]),
        (
            "ON",
            (NVCC_13, TORCH_12),
            [
                "torch 2.13.0+cu126 is built for CUDA 12.6",
                "nvcc (/opt/cuda/bin/nvcc) is CUDA 13.0",
                "Set CUDACXX to an nvcc of CUDA 12",
            ],
        ),
        ("YES", (NVCC_13, TORCH_13), ["VKDNW_CUDA=YES: expected one of AUTO, ON, OFF"]),
    ],
)
def test_a_build_that_cannot_be_is_refused(mode, facts, causes):
    going_on, said = decide(mode, *facts)
    assert not going_on
    for cause in causes:
        assert cause in said
