"""Pages name files, sections and Python objects that exist; so do docstrings and comments."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/api/*.md")))
SOURCES = sorted(
    path
    for folder in ("vkdnw", "search", "csrc", "tests", "benchmarks", "examples", "cmake")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".h", ".cpp", ".cu", ".cmake"} and "packaging" not in path.parts
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

# A path of this repository: it begins with one of its folders, and names a file or a folder.
FOLDERS = "vkdnw|search|csrc|tests|docs|benchmarks|examples|cmake|build_backend|results|third_party"
PATH = re.compile(rf"(?<![\w./<-])(?:{FOLDERS})/[\w./*-]*[\w*/](?![\w/<])")
SPAN = re.compile(r"`([\w./-]*/[\w.-]+\.(?:py|h|cpp|cu|cmake))`")  # the path of a source file
INCLUDE = re.compile(r"^#include .*$", re.MULTILINE)  # the compiler checks these
SUFFIXES = (".py", ".h", ".cpp", ".cu", ".md", ".cmake", ".csv", ".gz", ".png", "/")

GROUP = re.compile(r'entry-points\."[\w.]+"')  # of entry points: no object
OBJECT = re.compile(r"(?<![\w./])vkdnw(?:\.[A-Za-z_]\w*)+")


def by_path(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(page: Path) -> list[str]:
    missing = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    return missing


def missing_paths(text: str) -> list[str]:
    text = INCLUDE.sub("", text)
    named = {path for path in PATH.findall(text) if path.endswith(SUFFIXES)}
    named |= {path for path in SPAN.findall(text) if not path.startswith("torch/")}
    return sorted(path for path in named if not list(ROOT.glob(path.rstrip("/"))))


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return attribute in getattr(found, "__annotations__", {})
            found = getattr(found, attribute)
        return True
    return False


@by_path(PAGES)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    assert missing_links(path) == []


@by_path(PAGES)
def test_files_that_a_page_names_exist(path: Path) -> None:
    assert missing_paths(path.read_text(encoding="utf-8")) == []


@by_path(PAGES)
def test_python_objects_that_a_page_names_exist(path: Path) -> None:
    names = set(OBJECT.findall(GROUP.sub("", path.read_text(encoding="utf-8"))))
    assert sorted(name for name in names if not resolves(name)) == []


@pytest.mark.parametrize("folder", ["vkdnw", "search", "csrc/kernels"])
def test_the_architecture_draws_every_folder(folder: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / folder).glob("*/[a-z_]*.*")}
    missing = {name for name in folders - {"__pycache__"} if f" {name}/" not in page}
    assert missing == set()


def test_files_that_docstrings_and_comments_name_exist() -> None:
    missing = {
        str(path.relative_to(ROOT)): names
        for path in SOURCES
        if (names := missing_paths(path.read_text(encoding="utf-8")))
    }
    assert missing == {}


def test_a_wrong_link_path_or_name_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[here](#a-title) [nowhere](#b) [gone](gone.md)\n", encoding="utf-8")
    assert missing_links(page) == ["#b", "gone.md"]
    assert missing_paths("see `vkdnw/api.py`, `vkdnw/gone.py`") == ["vkdnw/gone.py"]
    assert missing_paths("in `per_sample/plan.py`") == ["per_sample/plan.py"]
    assert resolves("vkdnw.ops.library.load")
    assert not resolves("vkdnw.ops.library.gone")
