"""One training-free score a file: the computation, and the :class:`Proxy` that describes it."""

from vkdnw.proxies.methods.capacity import capacity
from vkdnw.proxies.methods.counts import complexity, flops, layers, parameters
from vkdnw.proxies.methods.dss import dss
from vkdnw.proxies.methods.epe_nas import epe_nas
from vkdnw.proxies.methods.expressivity import expressivity
from vkdnw.proxies.methods.fisher_pruning import fisher
from vkdnw.proxies.methods.fisher_spectra import (
    fisher_dimension,
    fisher_volume,
    vkdnw_calibrated,
    vkdnw_matrices,
    vkdnw_normalised,
)
from vkdnw.proxies.methods.grad_norm import grad_norm
from vkdnw.proxies.methods.gradsign import gradsign
from vkdnw.proxies.methods.grasp import grasp
from vkdnw.proxies.methods.jacov import jacov
from vkdnw.proxies.methods.linear_region import linear_region
from vkdnw.proxies.methods.meco import meco
from vkdnw.proxies.methods.naswot import naswot, naswot_layers
from vkdnw.proxies.methods.near import near
from vkdnw.proxies.methods.ntk import ntk
from vkdnw.proxies.methods.progressivity import progressivity
from vkdnw.proxies.methods.snip import snip
from vkdnw.proxies.methods.swap import swap, swap_regularised
from vkdnw.proxies.methods.synflow import synflow
from vkdnw.proxies.methods.token_mixing import token_mixing
from vkdnw.proxies.methods.trainability import trainability
from vkdnw.proxies.methods.vkdnw import vkdnw_entropy, vkdnw_single
from vkdnw.proxies.methods.weight_sums import l2_norm, plain
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
    swap,
    swap_regularised,
    meco,
    epe_nas,
    fisher,
    plain,
    l2_norm,
    near,
    dss,
    token_mixing,
    vkdnw_matrices,
    vkdnw_normalised,
    vkdnw_calibrated,
    fisher_dimension,
    fisher_volume,
    capacity,
    naswot_layers,
)
"""In the order of the paper's Table 1, then those of other papers."""
