"""Training-free scores of any image classifier.

>>> vkdnw.proxies.naswot(model, batch)
Value(value=1234.5, reason=None)
>>> vkdnw.proxies.compute(["naswot", "jacov"], model, Inputs(noise=batch), seed=0)

A proxy is a :class:`Proxy`: data on what it reads and how, and a function of a model and a batch.
"""

from __future__ import annotations

from vkdnw.proxies.compute import compute
from vkdnw.proxies.inputs import Inputs
from vkdnw.proxies.proxy import Convention, Proxy
from vkdnw.proxies.registry import PROXIES, names, proxy
from vkdnw.proxies.value import Value

__all__ = ["PROXIES", "Convention", "Inputs", "Proxy", "Value", "compute", "names", "proxy"]


def __getattr__(name: str) -> Proxy:
    if name in PROXIES:
        return PROXIES[name]
    raise AttributeError(f"module 'vkdnw.proxies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *PROXIES])
