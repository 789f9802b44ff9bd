"""NASWOT: how differently images switch a network's ReLUs (Mellor et al., ICML 2021); by layers."""

from __future__ import annotations

import math
import sys

from vkdnw.proxies.eigenvalues import eigenvalues, eigenvalues_of_all
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined


def log_determinant(shared: TrainPass, call: Call) -> Value:
    """log det K, with K_ij the number of ReLU units in which images i and j agree.

    All ReLUs count, each time they are called: modules and functions, whatever their shape. K is
    exact. Source: Mellor et al., "Neural Architecture Search without Training", ICML 2021,
    equation 2.
    """
    if shared.relus.reason is not None:
        return undefined(shared.relus.reason)
    spectrum = eigenvalues(shared.relus.kernel)
    rounding = len(spectrum) * sys.float_info.epsilon * float(spectrum[-1])
    if float(spectrum[0]) <= rounding:
        return undefined(
            "the kernel of activation patterns is singular: some images switch the ReLUs alike",
            -math.inf,
        )
    return Value(float(spectrum.log().sum()))


def sum_of_log_determinants(shared: TrainPass, call: Call) -> Value:
    """Sum over activations l of log det(I + K_l), K_l the units of l in which images agree.

    NASWOT adds up the kernels of all layers, so that the layers with the most units, the early
    ones, decide, and a deeper network hardly gains. Here every layer counts by its own logarithm,
    and one more adds to the sum. The I keeps the logarithm finite where two images switch a layer
    alike; a layer without units would add 0. Activations are ReLU in all its forms, GELU, SiLU,
    hardswish, mish, ELU and leaky ReLU, whose units are on where their input is positive, so that
    transformers have a value. Source: this package, after Mellor et al., equation 2.
    """
    if shared.activations.reason is not None:
        return undefined(shared.activations.reason)
    spectra = eigenvalues_of_all(shared.activations.layers)
    return Value(sum(float(each.clamp(min=0.0).log1p().sum()) for each in spectra))


naswot = Proxy(
    name="naswot",
    title="NASWOT",
    reference="Mellor et al., Neural Architecture Search without Training, ICML 2021",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="minus infinity where the kernel of patterns is singular, NaN without ReLUs",
    requires=("relus",),
    from_pass=log_determinant,
)

naswot_layers = Proxy(
    name="naswot_layers",
    title="NASWOT, layer by layer",
    reference="this package, after Mellor et al., ICML 2021",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN without an activation function that keeps the sign",
    requires=("activations",),
    from_pass=sum_of_log_determinants,
)
