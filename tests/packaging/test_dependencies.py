"""What the package imports is what it declares: neither more nor less."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn"}
USED_THROUGH_OTHERS = {"pyarrow"}  # pandas reads parquet with it


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


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}


def test_dependencies_are_what_is_imported():
    modules = {name.partition(".")[0] for name in imported("vkdnw") | imported("search")}
    third_party = modules - sys.stdlib_module_names - {"vkdnw"}
    distributions = {DISTRIBUTION_OF.get(name, name) for name in third_party}
    assert distributions | USED_THROUGH_OTHERS == declared()


def test_the_library_knows_nothing_of_the_search():
    assert not [name for name in imported("vkdnw") if name.startswith("vkdnw.search")]
