"""Builds the Python packages, and through CMake the native library.

What can be said statically is in pyproject.toml; how CMake is driven is in build_backend/.
"""

import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "build_backend"))

from cmake_build import CMakeBuild, libraries  # noqa: E402  (found through the line above)


def packages() -> dict[str, str]:
    """Package name -> folder. `search/` lies beside `vkdnw/` and installs as `vkdnw.search`."""
    library = ["vkdnw", *(f"vkdnw.{name}" for name in find_packages("vkdnw"))]
    search = ["vkdnw.search", *(f"vkdnw.search.{name}" for name in find_packages("search"))]
    folders = {name: name.replace(".", "/") for name in library}
    return folders | {name: name.removeprefix("vkdnw.").replace(".", "/") for name in search}


setup(
    packages=list(packages()),
    package_dir={"vkdnw": "vkdnw", "vkdnw.search": "search"},
    package_data={
        "vkdnw": ["py.typed"],
        "vkdnw.search.rankings": ["*.csv"],
        "vkdnw.search.report": ["*.html", "*.css", "*.js"],
    },
    ext_modules=[Extension(f"vkdnw.{name}", []) for name in (*libraries(), "_build_info")],
    cmdclass={"build_ext": CMakeBuild},
)
