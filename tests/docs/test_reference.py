"""The Python reference of the site has every public name; Sphinx writes it from the docstrings."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """The full names of the objects that autodoc describes on the page."""
    names, module = set(), ""
    for directive, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
        if directive == "currentmodule":
            module = name
        else:
            names.add(name if "." in name else f"{module}.{name}")
    return names


def own(module: Any) -> list[str]:
    """The public functions and classes that a module without `__all__` defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


MODULES_IN_BETWEEN = {"vkdnw.proxies", "vkdnw.weights"}  # attributes of vkdnw with own pages
LITERALS = {"ProxyConvention"}  # a choice of words, which holds no docstring
INTERNAL = {"vkdnw.weights.has_derivative", "vkdnw.weights.multiplying"}


PUBLIC = {
    vkdnw: vkdnw.__all__,
    vkdnw.weights: own(vkdnw.weights),
    vkdnw.proxies: vkdnw.proxies.__all__,
    vkdnw.search: vkdnw.search.__all__,
    vkdnw.testing: vkdnw.testing.__all__,
    vkdnw.search.testing: vkdnw.search.testing.__all__,
}
REFERENCE = set().union(*(documented(page) for page in (DOCS / "api").glob("*.md")))


def missing(module: Any, names: list[str], found: set[str]) -> list[str]:
    public = {f"{module.__name__}.{name}" for name in names} - MODULES_IN_BETWEEN - INTERNAL
    return sorted(public - found)


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: Any) -> None:
    assert missing(module, PUBLIC[module], REFERENCE) == []


def functions(value: Any) -> Iterator[Any]:
    """A function, or the public methods of a class."""
    if inspect.isfunction(value):
        yield value
    elif inspect.isclass(value):
        for name, method in vars(value).items():
            if not name.startswith("_"):
                yield from functions(getattr(method, "fget", method))


def returned(function: Any) -> set[str]:
    """The classes of this package in the annotation of a function's result, where it can be
    resolved from its module."""
    words = re.findall(r"\w+", str(inspect.signature(function).return_annotation))
    words += [getattr(inspect.signature(function).return_annotation, "__name__", "")]
    classes = [function.__globals__.get(word) for word in words]
    return {
        one.__name__
        for one in classes
        if inspect.isclass(one) and one.__module__.startswith("vkdnw")
    }


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_what_public_functions_return_is_in_the_reference(module: Any) -> None:
    values = [getattr(module, name) for name in PUBLIC[module]]
    classes = set().union(*(returned(one) for value in values for one in functions(value)))
    known = {name.rpartition(".")[2] for name in REFERENCE}
    assert sorted(classes - known) == []


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_everything_public_is_described(module: Any) -> None:
    described = {name: inspect.getdoc(getattr(module, name)) for name in PUBLIC[module]}
    described = {name: text for name, text in described.items() if name not in LITERALS}
    assert [name for name, text in described.items() if not text] == []


def test_every_proxy_is_defined_on_its_page() -> None:
    page = (DOCS / "proxies.md").read_text(encoding="utf-8")
    missing = [proxy.name for proxy in BUILT_IN if f"`{proxy.name}`" not in page]
    assert missing == []


def test_a_name_that_is_missing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        ".. currentmodule:: vkdnw\n\n.. autofunction:: score\n.. autoclass:: a.b.C\n", "utf-8"
    )
    assert documented(page) == {"vkdnw.score", "a.b.C"}
    assert missing(vkdnw, ["fisher", "score"], documented(page)) == ["vkdnw.fisher"]
    assert returned(vkdnw.search.Run.tally) == {"Tally"}
