"""Where code of one's own comes from: of the proxies and the space that a run is scored with.

A run records it with the versions that it ran on, and keeps it. When a later session computes with
other code under the same name, it says so.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from vkdnw.search.configuration import Json
from vkdnw.search.spaces.search_space import SearchSpace

PACKAGE = "vkdnw"
"""Whose code is known by its version."""


def of_space(space: SearchSpace) -> dict[str, Json]:
    """Where a space comes from; nothing for one of this package."""
    return _named(f"space {space.name}", type(space))


def of_proxies(names: Iterable[str]) -> dict[str, Json]:
    """Where the proxies among these values come from; nothing for those of this package."""
    from vkdnw.proxies import PROXIES  # it loads torch

    found: dict[str, Json] = {}
    for name in names:
        proxy = PROXIES.get(name)
        computing = None if proxy is None else proxy.compute or proxy.from_pass
        if computing is not None:
            found |= _named(f"proxy {name}", inspect.unwrap(computing))
    return found


def _named(name: str, thing: type[Any] | Callable[..., Any]) -> dict[str, Json]:
    module = thing.__module__
    if module.partition(".")[0] == PACKAGE:
        return {}
    name_there = getattr(thing, "__qualname__", type(thing).__qualname__)
    parts = [f"{module}:{name_there}", *_distributions(module), *_file(module)]
    return {name: ", ".join(parts)}


def _distributions(module: str) -> list[str]:
    """The installed packages that the module is part of, with their versions."""
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    return [f"{name} {metadata.version(name)}" for name in dict.fromkeys(names)]


def _file(module: str) -> list[str]:
    """The name of its file, and the SHA-256 of its contents; not of the modules it imports."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        return ["typed in, in no file"]
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return [Path(file).name, f"SHA-256 {digest[:16]}"]
