"""Training-free ranking of networks by the spectrum of their Fisher information (VKDNW).

>>> score = vkdnw.score(model.eval(), batch)
>>> score.vkdnw, score.single
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vkdnw import proxies, weights
    from vkdnw.api import FallbackWarning, fisher, jacobian, score
    from vkdnw.fisher_rank import LowRankWarning, ZeroFisherError
    from vkdnw.initialisation import initialise
    from vkdnw.ops.library import NativeLibraryError, PlainOpsWarning
    from vkdnw.result import Score
    from vkdnw.runtime.bfloat16 import SlowDtypeWarning
    from vkdnw.runtime.retry_on_oom import SmallerChunksWarning

__all__ = [
    "FallbackWarning",
    "LowRankWarning",
    "NativeLibraryError",
    "PlainOpsWarning",
    "Score",
    "SlowDtypeWarning",
    "SmallerChunksWarning",
    "ZeroFisherError",
    "fisher",
    "initialise",
    "jacobian",
    "proxies",
    "score",
    "weights",
]

# Loaded on first use: `vkdnw --help`, `vkdnw top` and the start of a run need no torch.
_MODULES = {
    "FallbackWarning": "vkdnw.api",
    "LowRankWarning": "vkdnw.fisher_rank",
    "NativeLibraryError": "vkdnw.ops.library",
    "PlainOpsWarning": "vkdnw.ops.library",
    "Score": "vkdnw.result",
    "SlowDtypeWarning": "vkdnw.runtime.bfloat16",
    "SmallerChunksWarning": "vkdnw.runtime.retry_on_oom",
    "ZeroFisherError": "vkdnw.fisher_rank",
    "fisher": "vkdnw.api",
    "initialise": "vkdnw.initialisation",
    "jacobian": "vkdnw.api",
    "score": "vkdnw.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in ("proxies", "weights"):
        return import_module(f"vkdnw.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'vkdnw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__version__"])


def _version() -> str:
    """The version of the installed package; reading it takes longer than the rest of an import."""
    from importlib.metadata import version

    return version("vkdnw")
