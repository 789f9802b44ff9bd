"""One training-free score a file: the computation, and the :class:`Proxy` that describes it."""

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

BUILT_IN = (
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
"""In the order of the paper's Table 1, then those of other papers."""
