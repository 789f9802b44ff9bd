"""Which parts of the package may import which: the layers that docs/architecture.md draws.

The imports are read from the source, so that those inside functions count as well. Those that only
a type checker reads do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"vkdnw": ROOT / "vkdnw", "vkdnw.search": ROOT / "search"}

# From the lowest: a part imports parts of its own layer and of those before it.
LAYERS = (
    {"ops"},
    {"runtime"},
    {"batch", "checks", "error_explanations", "initialisation", "options", "spectrum", "weights"},
    {"backward", "rules"},
    {"per_sample"},
    {"fisher_information", "fisher_rank", "result"},
    {"api"},
    {"score_group"},
    {"proxies"},
    {"testing"},
    {"vkdnw"},  # vkdnw/__init__.py, the public names
    {"search"},
)


def source_files() -> dict[str, Path]:
    """Every module of the package, by its name when installed."""
    modules = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            modules[".".join((package, *parts)).removesuffix(".__init__")] = path
    return modules


SOURCES = source_files()


def executed_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a syntax tree but those below `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from executed_nodes(child)


def imported_names(path: Path) -> Iterator[str]:
    """The names in a file's imports: modules, and attributes with their modules before them."""
    for node in executed_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> str | None:
    """The module that a dotted name lies in; None for other packages'."""
    while name not in SOURCES and "." in name:
        name = name.rpartition(".")[0]
    return name if name in SOURCES else None


IMPORTS = {
    module: {
        imported
        for name in imported_names(path)
        if (imported := module_of(name)) is not None and imported != module
    }
    for module, path in SOURCES.items()
}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def layer_of(module: str) -> int:
    for number, parts in enumerate(LAYERS):
        if part_of(module) in parts:
            return number
    raise AssertionError(f"{SOURCES[module]} is in no layer; give it a place in LAYERS")


def test_imports_lead_down_the_layers() -> None:
    upward = {
        (module, imported)
        for module, names in IMPORTS.items()
        for imported in names
        if layer_of(imported) > layer_of(module)
    }
    assert upward == set(), "imports of a higher layer"


@pytest.mark.parametrize("module", sorted(m for m in SOURCES if part_of(m) == "ops"))
def test_ops_import_nothing_else_of_the_package(module: str) -> None:
    assert {part_of(imported) for imported in IMPORTS[module]} <= {"ops"}


def test_imports_form_no_circle() -> None:
    try:
        order = tuple(TopologicalSorter(IMPORTS).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")
    assert set(order) == set(SOURCES)


def test_the_parser_sees_imports_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import vkdnw.ops.library as library\n"
        "from vkdnw.ops import doctor\n"
        "def late():\n"
        "    from vkdnw.ops.library import load\n"
        "if TYPE_CHECKING:\n"
        "    from vkdnw.ops.fisher import fisher_factor\n",
        encoding="utf-8",
    )
    assert {module_of(name) for name in imported_names(path)} == {
        "vkdnw.ops.library",
        "vkdnw.ops.doctor",
    }
