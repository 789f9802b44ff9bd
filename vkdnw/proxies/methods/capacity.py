"""Capacity: the work of a network's layers, with diminishing returns within each layer."""

from __future__ import annotations

from vkdnw.proxies.flop_count import forward_products
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value

POSITIONS, FAN_IN = 0.3, 0.5
"""Exponents, chosen once over several search spaces; `docs/ranking.md` has the protocol."""


def capacity_of_layers(call: Call) -> Value:
    """Sum over convolutions and matrix products of ``positions ** 0.3 * fan_in ** 0.5``.

    Of one sample in eval mode: the positions are the pixels or tokens to which a layer is applied,
    its fan-in the multiply-adds for each number that it returns. Exponents of 1 and a factor for
    the channels would give the FLOPs, exponents of 0 the number of layers. Between the two, a layer
    counts for more where it computes more, but a second layer for more than one twice as large.
    Every product counts that FLOPs count, those of attention too. No weight is read.

    Source: this package; compare the sum of log fan-ins of Shen et al., "DeepMAD", CVPR 2023.
    """
    sample = call.inputs.read("shape")[:1].detach().clone()
    return Value(
        sum(
            product.positions**POSITIONS * product.fan_in**FAN_IN
            for product in forward_products(call.model, sample)
        )
    )


capacity = Proxy(
    name="capacity",
    title="Capacity",
    reference="this package: FLOPs with diminishing returns within a layer",
    input="shape",
    mode="eval",
    init="none",
    cost="forward",
    undefined="never",
    compute=capacity_of_layers,
)
