"""How the native library was built, and which CPU it needs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
X86_64_V4 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
"""Flags of -march=x86-64-v4 that x86-64-v3 lacks (x86-64 psABI), as /proc/cpuinfo names them."""


@dataclass(frozen=True)
class BuildFacts:
    """The facts in the compiled module `vkdnw._build_info`."""

    version: str  # of vkdnw
    compiler: str
    cxx_flags: str
    native_arch: str  # the value of VKDNW_NATIVE_ARCH
    cpu_features: tuple[str, ...]  # that the code may use, by their names in /proc/cpuinfo
    torch_version: str  # whose headers it was compiled against
    torch_target: str  # the oldest torch whose stable ABI suffices
    torch_cuda: str  # CUDA of that torch; empty for a CPU build
    cuda_mode: str  # the value of VKDNW_CUDA
    cuda_reason: str  # the decision that followed, in words
    cuda_compiler: str  # version of nvcc; empty where the library holds no CUDA kernels
    cuda_archs: tuple[str, ...]
    python: str
    pybind11: str


def read() -> BuildFacts:
    """The facts of the library beside this file.

    Raises:
        ImportError: where the compiled module is missing, or is for another Python.
    """
    module = importlib.import_module("vkdnw._build_info")
    values: dict[str, Any] = {
        field.name: getattr(module, field.name) for field in fields(BuildFacts)
    }
    frozen: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
    }
    return BuildFacts(**frozen)


def running_cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str] | None:
    """Instruction sets of the CPU, by their Linux names; None where the system lists none."""
    if not cpuinfo.is_file():
        return None
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86 and ARM
            return frozenset(value.split())
    return None


def missing_cpu_features(
    facts: BuildFacts, running: frozenset[str] | None = None
) -> tuple[str, ...]:
    """Instruction sets that the library may use and this CPU lacks, in the order of the build.

    Empty where the system does not list them.
    """
    running = running_cpu_features() if running is None else running
    if running is None:
        return ()
    return tuple(feature for feature in facts.cpu_features if feature not in running)
