"""`vkdnw doctor`: the build, the running versions, and a remedy for each mismatch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from vkdnw.ops import build_facts, library
from vkdnw.ops.build_facts import BuildFacts
from vkdnw.ops.library import NativeLibraryError


def report() -> dict[str, Any]:
    """Facts of the build and of this process, fit for JSON.

    Returns:
        ``version``, ``folder``: of the imported package.
        ``built``: the build facts, or None where they cannot be read.
        ``running``: versions, CPU, threads and GPUs of this process.
        ``library``: its path, whether it loads, and the kernels in use, ``computes``: the compiled
            ops ("native"), plain torch operations ("plain"), or nothing until the problem is
            solved.
        ``problems``: faults that keep vkdnw from working, each with its remedy; empty if none.
        ``notes``: facts that are no faults but may surprise.
    """
    facts = _facts()
    problem = _load_problem()
    chosen = library.plain_is_chosen()
    problems = [problem] if problem and not chosen else []
    problems += _version_skew(facts) if facts else []
    return {
        "version": _installed_version(),
        "folder": str(library.LIBRARY.parent),
        "built": asdict(facts) if facts else None,
        "running": _running(),
        "library": {
            "path": str(library.fastest() if facts else library.LIBRARY),
            "loads": problem is None,
            "computes": _computes(problem),
        },
        "problems": problems,
        "notes": [
            *([problem] if problem and chosen else ()),
            *(_cuda_notes(facts) if facts else ()),
            *_stale_notes(),
        ],
    }


def render(report: dict[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [f"vkdnw {report['version'] or '(not installed)'} in {report['folder']}", ""]
    lines += _section("built", _built_lines(report["built"]))
    lines += _section("running", _running_lines(report["running"]))
    loads = "loads" if report["library"]["loads"] else "does not load"
    computing = _COMPUTING[report["library"]["computes"]]
    lines += _section("library", [f"{report['library']['path']} {loads}", computing])
    lines += ["", *(f"note: {note}" for note in report["notes"])]
    lines += [f"problem: {problem}" for problem in report["problems"]] or ["No problems."]
    return "\n".join(lines)


_COMPUTING = {
    "native": "the compiled ops compute",
    "plain": "plain torch operations compute: exact, but slower",
    "nothing": f"nothing computes until the problem is solved, or without it by {library.PLAIN}=1",
}


def _computes(problem: str | None) -> str:
    """The operations that a score would be computed with."""
    if problem is None:
        return "native"
    replaced = library.obstacle() is not None and not library.native_is_required()
    return "plain" if replaced else "nothing"


def _facts() -> BuildFacts | None:
    try:
        return library.read_facts()
    except NativeLibraryError:
        return None


def _load_problem() -> str | None:
    try:
        library.load()
    except NativeLibraryError as error:
        return str(error)
    return None


def _installed_version() -> str | None:
    try:
        return metadata.version("vkdnw")
    except metadata.PackageNotFoundError:
        return None


def _version_skew(facts: BuildFacts) -> list[str]:
    installed = _installed_version()
    if installed is None:
        return [
            "vkdnw is imported but not installed, so that its command and its dependencies are "
            f"not certain: {library.rebuild_command()}"
        ]
    if installed != facts.version:
        return [
            f"the Python files are vkdnw {installed}, the compiled library is {facts.version}: "
            f"{library.rebuild_command()}"
        ]
    return []


def _cuda_notes(facts: BuildFacts) -> Iterator[str]:
    import torch

    running = torch.version.cuda
    if facts.cuda_compiler and running is None:
        yield "the library is built with CUDA and this torch is a CPU build: it runs on the CPU"
    elif facts.cuda_compiler and running and _major(running) != _major(facts.cuda_compiler):
        yield (
            f"the library is built with CUDA {facts.cuda_compiler} and torch is for CUDA "
            f"{running}; set CUDACXX to an nvcc of CUDA {_major(running)} and build again: "
            f"{library.rebuild_command()}"
        )


def _stale_notes() -> Iterator[str]:
    """In a source tree: sources that are newer than the library."""
    sources = library.LIBRARY.parent.parent / "csrc"
    if not sources.is_dir() or not library.LIBRARY.is_file():
        return
    built = library.LIBRARY.stat().st_mtime
    kinds = {".cpp", ".cu", ".h"}
    compiled = (p for p in sources.rglob("*") if p.suffix in kinds and "tests" not in p.parts)
    newer = sorted(str(p.relative_to(sources)) for p in compiled if p.stat().st_mtime > built)
    if newer:
        yield (
            f"csrc has changed since the library was built ({', '.join(newer[:3])}"
            f"{', ...' if len(newer) > 3 else ''}): {library.rebuild_command()}"
        )


def _running() -> dict[str, Any]:
    import torch

    gpus = range(torch.cuda.device_count())
    features = build_facts.running_cpu_features()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "cpu": _cpu_name(),
        "cpu_features": sorted(features) if features is not None else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(gpu) for gpu in gpus],
    }


def _cpu_name(cpuinfo: Path = build_facts.CPUINFO) -> str:
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _major(version: str) -> str:
    return version.partition(".")[0]


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"{title if n == 0 else '':<9}{line}" for n, line in enumerate(lines)]


def _built_lines(built: dict[str, Any] | None) -> list[str]:
    if built is None:
        return ["nothing is known of it"]
    return [
        f"vkdnw {built['version']} with {built['compiler']}: {built['cxx_flags']}",
        f"for -march={built['native_arch']}: {' '.join(built['cpu_features'])}",
        f"against torch {built['torch_version']}; runs on torch >= {built['torch_target']}",
        f"for Python {built['python']}, with pybind11 {built['pybind11']}",
        f"VKDNW_CUDA={built['cuda_mode']}: {built['cuda_reason']}",
    ]


def _running_lines(running: dict[str, Any]) -> list[str]:
    cuda = f"CUDA {running['torch_cuda']}" if running["torch_cuda"] else "a CPU build"
    return [
        f"Python {running['python']}, torch {running['torch']} ({cuda})",
        f"{running['platform']}",
        f"{running['cpu']}: {running['cores']} cores, torch uses {running['threads']} threads",
        f"GPUs: {', '.join(running['gpus']) or 'none'}",
    ]
