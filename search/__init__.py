"""Search spaces, runs that score their networks, and rankings of the scores.

>>> from vkdnw import search
>>> run = search.enumerate("nb201", out="runs/a", sample=200, live=True, proxies="flow_agg")
>>> run.top(10)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vkdnw.search.api.callbacks import Result
    from vkdnw.search.api.comparing import compare
    from vkdnw.search.api.entry_points import enumerate, evolve  # noqa: A004
    from vkdnw.search.api.estimating import Estimate, estimate
    from vkdnw.search.api.network import Network
    from vkdnw.search.api.run import Run, open  # noqa: A004
    from vkdnw.search.errors import (
        ArgumentError,
        ConfigurationDiffers,
        Interrupted,
        RunError,
        RunLocked,
        StoreError,
    )
    from vkdnw.search.spaces.registry import space

# Loaded on first use: the command line must answer `--help` without loading torch.
_MODULES = {
    "ArgumentError": "vkdnw.search.errors",
    "Estimate": "vkdnw.search.api.estimating",
    "ConfigurationDiffers": "vkdnw.search.errors",
    "Interrupted": "vkdnw.search.errors",
    "Network": "vkdnw.search.api.network",
    "Result": "vkdnw.search.api.callbacks",
    "Run": "vkdnw.search.api.run",
    "RunError": "vkdnw.search.errors",
    "RunLocked": "vkdnw.search.errors",
    "StoreError": "vkdnw.search.errors",
    "compare": "vkdnw.search.api.comparing",
    "enumerate": "vkdnw.search.api.entry_points",
    "estimate": "vkdnw.search.api.estimating",
    "evolve": "vkdnw.search.api.entry_points",
    "open": "vkdnw.search.api.run",
    "space": "vkdnw.search.spaces.registry",
}

__all__ = [
    "ArgumentError",
    "ConfigurationDiffers",
    "Estimate",
    "Interrupted",
    "Network",
    "Result",
    "Run",
    "RunError",
    "RunLocked",
    "StoreError",
    "compare",
    "enumerate",
    "estimate",
    "evolve",
    "open",
    "space",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
