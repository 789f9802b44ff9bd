"""The setuptools command that builds the native library: configures and runs CMake with Ninja."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, SetupError

import target_torch

ROOT = Path(__file__).resolve().parent.parent

# Environment variables that steer the build, with their defaults: passed on every time, for CMake
# would otherwise go on with the value of the last build.
OPTIONS = {"VKDNW_CUDA": "AUTO", "VKDNW_CUDA_ARCHS": "90", "VKDNW_NATIVE_ARCH": "native"}

PORTABLE = {"_ops": "x86-64-v3", "_ops_avx512": "x86-64-v4"}
"""With VKDNW_NATIVE_ARCH=portable: the libraries of a wheel for others, and their -march.

The one is for CPUs with AVX2, the other for those with AVX-512. vkdnw/ops/library.py chooses.
"""


def libraries() -> dict[str, str]:
    """The libraries of ops that are built, and the -march of each."""
    arch = os.environ.get("VKDNW_NATIVE_ARCH") or OPTIONS["VKDNW_NATIVE_ARCH"]
    return PORTABLE if arch == "portable" else {"_ops": arch}


@dataclass(frozen=True)
class Tools:
    """The build tools of the running environment, by path: PATH may not have them."""

    cmake: Path
    ninja: Path
    pybind11: Path  # the folder of its CMake files


def find_tools() -> Tools:
    """The tools that pyproject.toml requires; an unisolated build has to bring them itself."""
    try:
        from cmake import CMAKE_BIN_DIR
        from ninja import BIN_DIR
        from pybind11 import get_cmake_dir
    except ImportError as error:
        raise SetupError(
            f"building vkdnw without build isolation needs its tools installed ({error}): "
            "pip install setuptools cmake ninja pybind11"
        ) from None
    return Tools(Path(CMAKE_BIN_DIR, "cmake"), Path(BIN_DIR, "ninja"), Path(get_cmake_dir()))


def build_folder(arch: str) -> Path:
    """One folder per Python, kept between builds: pip's own would make every build a cold one."""
    kind = arch if arch in PORTABLE.values() else "native"
    return ROOT / "build" / f"{kind}-{sys.implementation.cache_tag}"


def configure_command(build: Path, tools: Tools, torch: target_torch.Torch, arch: str) -> list[str]:
    """The call that configures the folder `build`; the libraries go to its subfolder vkdnw."""
    options = {name: os.environ.get(name) or default for name, default in OPTIONS.items()}
    options["VKDNW_NATIVE_ARCH"] = arch
    variables = options | {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": tools.ninja,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": tools.pybind11,
        "VKDNW_OUTPUT_DIR": build / "vkdnw",
        "VKDNW_TORCH_DIR": torch.root,
    }
    definitions = [f"-D{name}={value}" for name, value in variables.items()]
    return [str(tools.cmake), "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *definitions]


class CMakeBuild(build_ext):
    """Builds all extensions, in one CMake run for each CPU.

    `vkdnw._ops` is a library for torch's loader, no Python module: its name carries no Python ABI.
    """

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.rpartition(".")[2] in PORTABLE:
            return str(Path(*fullname.split("."))) + ".so"
        return str(super().get_ext_filename(fullname))

    def build_extensions(self) -> None:
        obstacle = why_not_to_build()
        if obstacle is not None:
            for extension in self.extensions:
                extension.optional = True  # setuptools packs what there is
            self.warn(f"vkdnw is installed without its kernels, for {obstacle}: it will be slower")
            return
        _require_python_headers()
        try:
            torch = target_torch.find()
        except target_torch.TorchNotFoundError as error:
            raise SetupError(str(error)) from None
        tools, ops = find_tools(), libraries()
        for arch in ops.values():
            build = build_folder(arch)
            _run(configure_command(build, tools, torch, arch))
            _run([str(tools.cmake), "--build", str(build)])
        for extension in self.extensions:
            library = extension.name.rpartition(".")[2]
            # The module of facts tells of the library for every CPU that the build is for.
            self._collect(extension, build_folder(ops.get(library, ops["_ops"])) / "vkdnw")

    def _collect(self, extension: Extension, built: Path) -> None:
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        name = "_ops.so" if extension.name.rpartition(".")[2] in PORTABLE else target.name
        self.copy_file(str(built / name), str(target), level=self.verbose)


def why_not_to_build() -> str | None:
    """Why the package is installed without the native library, which works, and is slower.

    A compiler that is there and fails is an error; that none is there is none, unless
    VKDNW_REQUIRE_NATIVE=1 is set.

    Raises:
        SetupError: it is.
    """
    if os.environ.get("VKDNW_PLAIN", "") not in ("", "0"):
        return "VKDNW_PLAIN=1 asks for that"
    obstacle = None
    if sys.platform != "linux":
        obstacle = f"they are built on Linux alone, and this is {sys.platform}"
    elif not os.environ.get("CXX") and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        obstacle = "no C++ compiler is on PATH (c++, g++ or clang++; CXX names another)"
    if obstacle is not None and os.environ.get("VKDNW_REQUIRE_NATIVE", "") not in ("", "0"):
        raise SetupError(f"VKDNW_REQUIRE_NATIVE=1: vkdnw gets no kernels, for {obstacle}")
    return obstacle


def _require_python_headers() -> None:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise SetupError(
            f"{header} is missing: install the headers of this Python "
            f"(on Debian: apt-get install python{sysconfig.get_python_version()}-dev), or install "
            "without the kernels, which is slower: VKDNW_PLAIN=1"
        )


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise BaseError(
            f"building the native library failed: {Path(command[0]).name} ended with status "
            f"{error.returncode}; CMake or the compiler says why above"
        ) from None
