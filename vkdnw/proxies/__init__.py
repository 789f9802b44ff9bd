"""Training-free scores of any image classifier.

>>> vkdnw.proxies.naswot(model, batch)
Value(value=1234.5, reason=None)
>>> vkdnw.proxies.compute(["naswot", "jacov"], model, Inputs(noise=batch), seed=0)

A proxy is a :class:`Proxy`: its inputs and its mode as data, and a function that computes it. Every
proxy is a function of this module as well; :func:`register` adds one's own.
"""

from __future__ import annotations

from vkdnw.proxies.compute import compute
from vkdnw.proxies.inputs import Inputs
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call, ProxyConvention
from vkdnw.proxies.proxy_functions import Direct, direct
from vkdnw.proxies.registry import PROXIES, names, proxy, register
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined

__all__ = [
    "PROXIES",
    "Call",
    "Inputs",
    "Proxy",
    "ProxyConvention",
    "TrainPass",
    "Value",
    "compute",
    "names",
    "proxy",
    "register",
    "undefined",
]


def __getattr__(name: str) -> Direct:
    if not name.startswith("_") and name in PROXIES:
        return direct(PROXIES[name].name)
    raise AttributeError(f"module 'vkdnw.proxies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *PROXIES])
