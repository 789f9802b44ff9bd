"""Finds torch in the environment that is being installed into, by path: torch is never imported.

In an isolated build the importable packages are those of a temporary build environment. With pip
the interpreter is still the target's; with build and uv it is not, but an activated target is named
by VIRTUAL_ENV or CONDA_PREFIX, or (uv overwrites those) has its programs on PATH. Looking there
spares a second torch of several gigabytes, and the headers are those of the torch that will run.

`python target_torch.py` prints the folder found, for CMake runs outside of pip.
"""

from __future__ import annotations

import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST = (2, 11)  # the stable ABI that the ops are compiled for, see TORCH_TARGET_VERSION in CMake


class TorchNotFoundError(RuntimeError):
    """No torch that the ops can be compiled against."""


@dataclass(frozen=True)
class Torch:
    """An installed torch: its package folder and what its version.py says."""

    root: Path
    version: str
    cuda: str | None

    @property
    def recent_enough(self) -> bool:
        """Whether it has the stable ABI that the ops are compiled for."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST


def read(root: Path) -> Torch | None:
    """The torch whose package folder is `root`; None when there is none with headers."""
    version_file = root / "version.py"
    if not version_file.is_file() or not (root / "include" / "torch").is_dir():
        return None
    text = version_file.read_text(encoding="utf-8")
    version = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    cuda = re.search(r"^cuda\b[^=]*= '([^']+)'", text, re.MULTILINE)
    return Torch(root, version[1], cuda[1] if cuda else None) if version else None


def _site_packages(prefix: Path) -> Path:
    return prefix / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"


def _activated_environments() -> Iterator[Path]:
    named = (os.environ.get(variable) for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    yield from (Path(prefix) for prefix in named if prefix)
    programs = filter(None, os.environ.get("PATH", "").split(os.pathsep))
    prefixes = (Path(folder).parent for folder in programs)
    yield from (prefix for prefix in prefixes if (prefix / "pyvenv.cfg").is_file())


def _sees_base_environment() -> bool:
    """Whether packages outside of a virtual environment are visible in it, or there is no such."""
    if sys.prefix == sys.base_prefix:
        return True
    config = Path(sys.prefix, "pyvenv.cfg")
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return re.search(r"include-system-site-packages\s*=\s*true", text) is not None


def target_folders() -> Iterator[Path]:
    """Folders of packages of the environment that is installed into, the likeliest first."""
    yield from (Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))
    if _sees_base_environment():
        yield from map(Path, site.getsitepackages([sys.base_prefix]))
        yield Path(site.getusersitepackages())
    yield from map(_site_packages, _activated_environments())


def candidates(*, build_environment: bool) -> Iterator[Torch]:
    """Every torch in reach: the target's first, then, if asked for, the build environment's."""
    folders = list(target_folders())
    if build_environment:
        folders += [Path(entry or ".") for entry in sys.path]
    found = (read(folder / "torch") for folder in dict.fromkeys(folders))
    yield from (torch for torch in found if torch is not None)


def in_target() -> Torch | None:
    """A torch of the target environment that the ops can be compiled against; None without one."""
    if os.environ.get("VKDNW_TORCH_DIR"):
        return find()
    usable = (torch for torch in candidates(build_environment=False) if torch.recent_enough)
    return next(usable, None)


def find() -> Torch:
    """The torch to compile against.

    VKDNW_TORCH_DIR (the folder of the package `torch`) overrides the search.

    Raises:
        TorchNotFoundError: where there is none, or only one that is too old; says where it looked.
    """
    wanted = ".".join(map(str, OLDEST))
    named = os.environ.get("VKDNW_TORCH_DIR")
    if named:
        torch = read(Path(named))
        if torch is None or not torch.recent_enough:
            raise TorchNotFoundError(
                f"VKDNW_TORCH_DIR={named}: expected the package folder of torch >= {wanted} "
                f"with version.py and include/, found {torch.version if torch else 'none'}"
            )
        return torch
    seen = list(candidates(build_environment=True))
    for torch in seen:
        if torch.recent_enough:
            return torch
    old = "; ".join(f"torch {torch.version} in {torch.root} is too old" for torch in seen)
    looked = ", ".join(str(folder) for folder in dict.fromkeys(target_folders()))
    raise TorchNotFoundError(
        f"torch >= {wanted} is needed to compile vkdnw: {old or f'none found in {looked}'}. "
        f"Run `pip install 'torch>={wanted}'` in the environment you install into, "
        "or set VKDNW_TORCH_DIR to the folder of the package torch."
    )


if __name__ == "__main__":
    try:
        print(find().root)
    except TorchNotFoundError as error:
        sys.exit(str(error))
