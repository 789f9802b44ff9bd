"""The Python reference of the site has every public name; Sphinx writes it from the docstrings."""

import re
from pathlib import Path

import pytest

import vkdnw
import vkdnw.proxies
import vkdnw.search
import vkdnw.search.testing
import vkdnw.testing
import vkdnw.weights
from vkdnw.proxies.methods import BUILT_IN

DOCS = Path(__file__).resolve().parents[2] / "docs"
DIRECTIVE = re.compile(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", re.MULTILINE)


def documented(page: Path) -> set[str]:
    """The full names of what the page has autodoc write."""
    names, module = set(), ""
    for directive, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
        if directive == "currentmodule":
            module = name
        else:
            names.add(name if "." in name else f"{module}.{name}")
    return names


def own(module: object) -> list[str]:
    """The public functions and classes that a module without `__all__` defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


MODULES_IN_BETWEEN = {"vkdnw.proxies", "vkdnw.weights"}  # attributes of vkdnw with own pages
INTERNAL = {"vkdnw.weights.has_derivative", "vkdnw.weights.multiplying"}


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (vkdnw, vkdnw.__all__),
        (vkdnw.weights, own(vkdnw.weights)),
        (vkdnw.proxies, vkdnw.proxies.__all__),
        (vkdnw.search, vkdnw.search.__all__),
        (vkdnw.testing, vkdnw.testing.__all__),
        (vkdnw.search.testing, vkdnw.search.testing.__all__),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_public_name_is_in_the_reference(module, names):
    public = {f"{module.__name__}.{name}" for name in names} - MODULES_IN_BETWEEN - INTERNAL
    found = set().union(*(documented(page) for page in (DOCS / "api").glob("*.md")))
    assert sorted(public - found) == []


def test_every_proxy_is_defined_on_its_page():
    page = (DOCS / "proxies.md").read_text(encoding="utf-8")
    missing = [proxy.name for proxy in BUILT_IN if f"`{proxy.name}`" not in page]
    assert missing == []


def test_a_name_that_is_missing_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        ".. currentmodule:: vkdnw\n\n.. autofunction:: score\n.. autoclass:: a.b.C\n", "utf-8"
    )
    assert documented(page) == {"vkdnw.score", "a.b.C"}
