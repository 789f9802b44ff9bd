"""Every proxy by its name: those of this package, of other packages, and of one's own module.

A package makes its proxies known by name with an entry point in its pyproject.toml, a module that
registers them when it is imported (:func:`register`):

    [project.entry-points."vkdnw.proxies"]
    my_package = "my_package.proxies"

A proxy that no package registers is named by where it is, ``my_module:my_proxy``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from vkdnw.proxies.methods import BUILT_IN
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.value import Value, checked

ENTRY_POINTS = "vkdnw.proxies"
"""The group under which other packages name the modules that register theirs."""

Function = TypeVar("Function", bound=Callable[..., Any])


class Registry(Mapping[str, Proxy]):
    """Name -> proxy, in the order of the paper's Table 1 and of registration.

    Modules of other packages are imported when a name is first looked up.
    """

    def __init__(self, built_in: tuple[Proxy, ...]) -> None:
        self._known = {proxy.name: proxy for proxy in built_in}
        self._loaded = False

    def __getitem__(self, name: str) -> Proxy:
        if name not in self._known:
            self._load()
        if name not in self._known and ":" in name:
            self._known[name] = _of_place(name, self._known)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._known)

    def __len__(self) -> int:
        self._load()
        return len(self._known)

    def add(self, proxy: Proxy) -> None:
        """Raises ValueError where another proxy, of another module, has the name."""
        known = self._known.get(proxy.name)
        if known is not None and known.origin != proxy.origin:
            raise ValueError(
                f"proxy {proxy.name} of {proxy.origin}: {known.origin} has one of that name"
            )
        self._known[proxy.name] = proxy

    def remove(self, name: str) -> None:
        """Forgets a proxy of one's own."""
        del self._known[name]

    def _load(self) -> None:
        """Imports the modules of other packages; those that fail are left out with a warning."""
        if self._loaded:
            return
        self._loaded = True
        for one in entry_points(group=ENTRY_POINTS):
            try:
                one.load()
            except Exception as error:  # whatever another package raises when it is imported
                warnings.warn(
                    f"the proxies of {one.value} (entry point {one.name}) are left out: {error!r}",
                    stacklevel=3,
                )


PROXIES = Registry(BUILT_IN)


def proxy(name: str) -> Proxy:
    """The proxy of a name, or of ``module:function``, found from the current folder too.

    Raises ValueError that lists the names there are, or says why a module cannot be imported.
    """
    try:
        return PROXIES[name]
    except KeyError:
        close = get_close_matches(name, PROXIES, n=1)
        suggestion = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(
            f"no proxy is named {name!r}{suggestion}; choose from {', '.join(PROXIES)}, or name "
            "one of your own as module:function"
        ) from None


def names() -> tuple[str, ...]:
    """The names of all proxies: in the order of the paper's Table 1, then of registration."""
    return tuple(PROXIES)


def register(**fields: Any) -> Callable[[Function], Function]:
    """Makes a function a proxy that is known by name.

    >>> @vkdnw.proxies.register(title="Mean weight", reference="ours")
    ... def mean_weight(call):
    ...     return sum(p.abs().mean().item() for p in call.model.parameters())
    >>> vkdnw.proxies.mean_weight(model)

    The function takes a :class:`vkdnw.proxies.Call`, or with ``requires=`` a
    :class:`vkdnw.proxies.TrainPass` and a Call, and returns a number or a
    :class:`vkdnw.proxies.Value`. Higher has to rank better. Its duties are tested by
    :class:`vkdnw.testing.ProxyTests`.

    Args:
        **fields: those of :class:`vkdnw.proxies.Proxy`. By default the name is the function's, the
            title its name in words, and the proxy reads noise in train mode.

    Raises:
        ValueError: another proxy has the name, or there is no such field.
    """

    def registered(function: Function) -> Function:
        PROXIES.add(_made(function, fields))
        return function

    return registered


def _made(function: Callable[..., Any], fields: Mapping[str, Any]) -> Proxy:
    known = Proxy.__dataclass_fields__.keys() - {"compute", "from_pass"}
    unknown = fields.keys() - known
    if unknown:
        raise ValueError(f"register({', '.join(sorted(unknown))}=...): Proxy has no such field")
    name = fields.get("name", function.__name__)
    if not str(name).isidentifier():
        raise ValueError(f"proxy {name!r}: a name is an identifier of Python")
    defaults: dict[str, Any] = {
        "name": name,
        "title": str(name).replace("_", " ").capitalize(),
        "reference": function.__module__,
        "input": "noise",
        "mode": "train",
        "init": "kaiming_normal",
        "cost": "forward",
        "undefined": "where the number is not finite",
        "from_pass" if fields.get("requires") else "compute": _returning_value(function),
    }
    return Proxy(**{**defaults, **fields})


def _returning_value(function: Callable[..., Any]) -> Callable[..., Value]:
    def value(*args: Any) -> Value:
        returned = function(*args)
        return returned if isinstance(returned, Value) else checked(float(returned))

    value.__module__, value.__doc__ = function.__module__, function.__doc__
    value.__wrapped__ = function  # type: ignore[attr-defined]
    return value


def _of_place(place: str, known: Mapping[str, Proxy]) -> Proxy:
    """The proxy of ``module:function``, under that name. Raises ValueError."""
    module, _, attribute = place.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"proxy {place!r} cannot be imported: {error}") from error
    for each in known.values():
        if getattr(each.compute or each.from_pass, "__wrapped__", None) is function:
            return each.renamed(place, each.title, each.reference)
    raise ValueError(f"{place} is no proxy: decorate it with @vkdnw.proxies.register(...)")
