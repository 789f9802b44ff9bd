"""Every proxy by its name."""

from __future__ import annotations

from vkdnw.proxies.methods.counts import complexity, flops, layers, parameters
from vkdnw.proxies.methods.expressivity import expressivity
from vkdnw.proxies.methods.grad_norm import grad_norm
from vkdnw.proxies.methods.gradsign import gradsign
from vkdnw.proxies.methods.grasp import grasp
from vkdnw.proxies.methods.jacov import jacov
from vkdnw.proxies.methods.linear_region import linear_region
from vkdnw.proxies.methods.naswot import naswot
from vkdnw.proxies.methods.ntk import ntk
from vkdnw.proxies.methods.progressivity import progressivity
from vkdnw.proxies.methods.snip import snip
from vkdnw.proxies.methods.synflow import synflow
from vkdnw.proxies.methods.trainability import trainability
from vkdnw.proxies.methods.vkdnw import vkdnw_entropy, vkdnw_single
from vkdnw.proxies.methods.zen import zen
from vkdnw.proxies.methods.zico import zico
from vkdnw.proxies.proxy import Proxy

PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        flops,
        parameters,
        layers,
        grad_norm,
        grasp,
        snip,
        synflow,
        jacov,
        naswot,
        zen,
        gradsign,
        zico,
        ntk,
        linear_region,
        expressivity,
        progressivity,
        trainability,
        complexity,
        vkdnw_entropy,
        vkdnw_single,
    )
}
"""In the order of the paper's Table 1."""


def proxy(name: str) -> Proxy:
    """The proxy of a name. Raises ValueError that lists the names there are."""
    if name not in PROXIES:
        raise ValueError(f"no proxy is named {name!r}; choose from {', '.join(PROXIES)}")
    return PROXIES[name]


def names() -> tuple[str, ...]:
    """The names of all proxies, in the order of the paper's Table 1."""
    return tuple(PROXIES)
