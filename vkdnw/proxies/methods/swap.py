"""SWAP: how many units react differently to the images (Peng et al., ICLR 2024)."""

from __future__ import annotations

import math

from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined

REFERENCE = "Peng et al., SWAP-NAS, ICLR 2024"


def distinct_units(shared: TrainPass, call: Call) -> Value:
    """The number of different patterns of ReLU units over the images.

    A unit's pattern says for each of the B images whether the unit is on; units of all ReLUs count
    together. Source: Peng et al., "SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS",
    definition 3.2.
    """
    if shared.relus.reason is not None:
        return undefined(shared.relus.reason)
    return Value(float(shared.relus.distinct_units))


def regularised_distinct_units(shared: TrainPass, call: Call) -> Value:
    """log SWAP - (T - mu)^2 / sigma, with T the thousands of parameters.

    It ranks as SWAP exp(-(T - mu)^2 / sigma) does (the paper's regularisation, section 3.3), whose
    exponential is zero in float64 where T is some hundreds from mu. mu and sigma belong to a search
    space; they are ``Inputs(size=(mu, sigma))``, and without them there is no value.
    """
    if call.inputs.size is None:
        return undefined("inputs.size=(mu, sigma) is not given: the size that is aimed at")
    value = distinct_units(shared, call)
    if value.reason is not None:
        return value
    mu, sigma = call.inputs.size
    thousands = sum(parameter.numel() for parameter in call.model.parameters()) / 1e3
    return Value(math.log(value.value) - (thousands - mu) ** 2 / sigma)


swap = Proxy(
    name="swap",
    title="SWAP",
    reference=REFERENCE,
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN without ReLUs that read the images",
    requires=("relu units",),
    from_pass=distinct_units,
)

swap_regularised = Proxy(
    name="swap_regularised",
    title="Regularised SWAP",
    reference=REFERENCE,
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN without ReLUs, or without Inputs(size=(mu, sigma))",
    requires=("relu units",),
    from_pass=regularised_distinct_units,
)
