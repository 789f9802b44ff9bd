"""The package declares the packages that it imports: neither more nor less."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
USED_THROUGH_OTHERS = {"pyarrow"}  # pandas reads parquet with it
WHOEVER_TESTS_HAS = {"pytest"}  # vkdnw.search.testing is for users' test suites


def imported(folder: str) -> set[str]:
    """Modules that the Python files of a folder import by absolute name, anywhere in them."""
    names = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return names


def third_party(*folders: str) -> set[str]:
    """Distributions that the folders import from."""
    names = set().union(*(imported(folder) for folder in folders))
    modules = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    return {
        DISTRIBUTION_OF.get(name, name)
        for name in modules - {"vkdnw", "tests", "benchmarks"} - beside()
    }


def beside() -> set[str]:
    """Modules that tests and benchmarks import from their own folders."""
    folders = [ROOT / name for name in ("tests", "benchmarks", "benchmarks/gpu", "cmake")]
    return {file.stem for folder in folders for file in folder.iterdir()}


def declared() -> tuple[set[str], set[str], set[str]]:
    """Distributions of every user, of users of an extra, and of developers besides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = dict(project["optional-dependencies"])
    developer = extras.pop("dev")
    lists = (project["dependencies"], [line for extra in extras.values() for line in extra])
    return tuple({re.match(r"[\w-]+", line)[0] for line in part} for part in (*lists, developer))


def test_dependencies_are_what_is_imported():
    user, optional, _ = declared()
    found = third_party("vkdnw", "search") | USED_THROUGH_OTHERS
    assert user <= found
    assert found - user - WHOEVER_TESTS_HAS <= optional


def test_tests_and_benchmarks_import_nothing_undeclared():
    assert third_party("tests", "benchmarks") <= set().union(*declared())


def test_the_library_knows_nothing_of_the_search():
    assert not [name for name in imported("vkdnw") if name.startswith("vkdnw.search")]
