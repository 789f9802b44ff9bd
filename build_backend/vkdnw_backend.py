"""PEP 517 backend: setuptools, with torch a build requirement only where the target has none.

A static requirement on torch would make every isolated build fetch its own torch (several
gigabytes, perhaps of another version than the one installed); no requirement at all would make
the build fail where torch is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta as _setuptools
from setuptools.build_meta import (  # hooks that setuptools serves as they are
    build_editable,
    build_sdist,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

import target_torch

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, Any] | None


def torch_requirement() -> list[str]:
    """What the build environment needs besides the static requirements: torch, or nothing."""
    if target_torch.in_target() is not None:
        return []
    return ["torch>=" + ".".join(map(str, target_torch.OLDEST))]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return _setuptools.get_requires_for_build_wheel(config_settings) + torch_requirement()


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return _setuptools.get_requires_for_build_editable(config_settings) + torch_requirement()


def build_wheel(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    # setuptools packs whatever lies in build/lib*, modules that were deleted since included.
    for stale in Path("build").glob("lib*"):
        shutil.rmtree(stale)
    return _setuptools.build_wheel(wheel_directory, config_settings, metadata_directory)
