"""The search spaces by name, and spaces of one's own.

A package of one's own makes a space known by name with an entry point in its pyproject.toml:

    [project.entry-points."vkdnw.spaces"]
    staircase = "my_package.staircase:Staircase"

A space that no package registers is named by where it is: `my_module:MySpace`.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from vkdnw.search.did_you_mean import meant
from vkdnw.search.errors import ArgumentError
from vkdnw.search.spaces.search_space import SearchSpace

SPACES: dict[str, str] = {
    "nb201": "vkdnw.search.spaces.nb201.space:NB201",
    "mobilenetv2": "vkdnw.search.spaces.mobilenetv2.space:MobileNetV2",
    "nb101": "vkdnw.search.spaces.nb101.space:NB101",
    "nats_sss": "vkdnw.search.spaces.nats_sss.space:NATSSize",
    "transnas_micro": "vkdnw.search.spaces.transnas.space:TransNASMicro",
    "transnas_macro": "vkdnw.search.spaces.transnas.space:TransNASMacro",
    "darts": "vkdnw.search.spaces.darts.space:DARTS",
    "nb_macro": "vkdnw.search.spaces.nb_macro.space:NBMacro",
    "mnasnet": "vkdnw.search.spaces.mnasnet.space:MnasNet",
    "autoformer_t": "vkdnw.search.spaces.autoformer.space:AutoFormerT",
    "autoformer_s": "vkdnw.search.spaces.autoformer.space:AutoFormerS",
    "autoformer_b": "vkdnw.search.spaces.autoformer.space:AutoFormerB",
    "pit": "vkdnw.search.spaces.pit.space:PiT",
}
"""Name -> "module:class". Modules are imported when a space is asked for."""

ENTRY_POINTS = "vkdnw.spaces"
"""The group under which other packages register theirs."""


def names() -> tuple[str, ...]:
    """The names of this package's spaces, then those of other packages'."""
    return tuple(places())


def places() -> Mapping[str, str]:
    """Name -> "module:class" of every space that is known by name."""
    others = {one.name: one.value for one in entry_points(group=ENTRY_POINTS)}
    return {**SPACES, **{name: place for name, place in others.items() if name not in SPACES}}


def space_class(name: str) -> type[Any]:
    """The class of a space: of a name, or of `module:class`, found from the current folder too.

    Raises:
        ArgumentError: there is none of that name, or it cannot be imported; the message lists
            the spaces there are.
    """
    known = places()
    place = known.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        raise ArgumentError(
            f"no space is called {name!r}{meant(name, known)} Known are {', '.join(known)}; one of "
            "your own is named as module:class"
        )
    _look_here()
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ArgumentError(f"the space {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ArgumentError(f"{place} is no space: a space is a class, a frozen dataclass")
    return found


def space(which: str | type[Any] | SearchSpace, **sizes: Any) -> SearchSpace:
    """A space: of a name, of `module:class`, of a class, or the object itself.

    Args:
        which: the space.
        **sizes: those of its fields that are not at their defaults.

    Raises:
        ArgumentError: there is no such space, or no such size; the message lists those there are.
        ValueError: the space refuses a size.
    """
    if not isinstance(which, str | type):
        if sizes:
            raise ArgumentError(
                f"{', '.join(sizes)}: the space is an object with its sizes; use "
                "dataclasses.replace, or give the class or the name"
            )
        return which
    kind = space_class(which) if isinstance(which, str) else which
    known = [field.name for field in fields(kind)]
    for size in sizes:
        if size not in known:
            raise ArgumentError(
                f"{size}={sizes[size]!r}: {kind.name} has no such size{meant(size, known)} "
                f"Its sizes are {', '.join(known) or 'none'}"
            )
    return cast("SearchSpace", kind(**sizes))


def place_of(space: SearchSpace) -> str | None:
    """Where a space comes from, `module:class`; None for one that is known by its name."""
    kind = type(space)
    place = f"{kind.__module__}:{kind.__qualname__}"
    return None if places().get(space.name) == place else place


def _look_here() -> None:
    """Let modules of the current folder be imported: a console command does not by itself."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
