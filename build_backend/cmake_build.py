"""The setuptools command that builds the native library: configures and runs CMake with Ninja."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import cmake
import ninja
import pybind11
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, SetupError

import target_torch

ROOT = Path(__file__).resolve().parent.parent

# Environment variables that steer the build, with their defaults: passed on every time, for CMake
# would otherwise go on with the value of the last build.
OPTIONS = {"VKDNW_CUDA": "AUTO", "VKDNW_CUDA_ARCHS": "90", "VKDNW_NATIVE_ARCH": "native"}


def build_folder() -> Path:
    """One folder per Python, kept between builds: pip's own would make every build a cold one."""
    return ROOT / "build" / f"native-{sys.implementation.cache_tag}"


def configure_command(build: Path, torch: target_torch.Torch) -> list[str]:
    """The CMake call. Tools are called by path, for PATH may not have them."""
    options = {name: os.environ.get(name) or default for name, default in OPTIONS.items()}
    variables = options | {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_MAKE_PROGRAM": str(Path(ninja.BIN_DIR, "ninja")),
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "VKDNW_TORCH_DIR": str(torch.root),
    }
    cmake_program = str(Path(cmake.CMAKE_BIN_DIR, "cmake"))
    definitions = [f"-D{name}={value}" for name, value in variables.items()]
    return [cmake_program, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *definitions]


def _require_python_headers() -> None:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise SetupError(
            f"{header} is missing: install the headers of this Python "
            f"(on Debian: apt-get install python{sysconfig.get_python_version()}-dev)"
        )


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        # The cause stands above, in the words of CMake or of the compiler.
        raise BaseError(f"building the native library failed: {error}") from None


class CMakeBuild(build_ext):
    """Builds all extensions in one CMake run.

    `vkdnw._ops` is a library for torch's loader, no Python module: its name carries no Python ABI.
    """

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.rpartition(".")[2] == "_ops":
            return str(Path(*fullname.split("."))) + ".so"
        return str(super().get_ext_filename(fullname))

    def build_extensions(self) -> None:
        _require_python_headers()
        try:
            torch = target_torch.find()
        except target_torch.TorchNotFoundError as error:
            raise SetupError(str(error)) from None
        build = build_folder()
        _run([*configure_command(build, torch), f"-DVKDNW_OUTPUT_DIR={build / 'vkdnw'}"])
        _run([str(Path(cmake.CMAKE_BIN_DIR, "cmake")), "--build", str(build)])
        for extension in self.extensions:
            self._collect(extension, build / "vkdnw")

    def _collect(self, extension: Extension, built: Path) -> None:
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(built / target.name), str(target), level=self.verbose)
