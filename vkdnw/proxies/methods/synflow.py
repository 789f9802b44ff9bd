"""SynFlow: the flow through a network of absolute weights (Tanaka et al., NeurIPS 2020)."""

from __future__ import annotations

from vkdnw.proxies.absolute_weights import absolute_weights
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, checked
from vkdnw.proxies.weight_layers import without_normalisation


def synaptic_flow(call: Call) -> Value:
    """sum |w dR/dw| over weights of convolutions and linear layers, R the sum of the logits.

    The input is ones, one sample; parameters and buffers are replaced by their absolute values and
    normalisation by the identity. All of it is float64: values span tens of orders of magnitude.
    The sum is not taken to its logarithm. Source: Tanaka et al., "Pruning neural networks without
    any data by iteratively conserving synaptic flow", section 5, as a score by Abdelfattah et al.,
    ICLR 2021.
    """
    with without_normalisation(call.model):
        weights = absolute_weights(call)
    return checked(float(sum((weight * slope).abs().sum() for weight, slope in weights.values())))


synflow = Proxy(
    name="synflow",
    title="SynFlow",
    reference="Tanaka et al., NeurIPS 2020; as a score Abdelfattah et al., ICLR 2021",
    input="ones",
    mode="eval",
    init="kaiming_normal",
    sums_weights=True,
    cost="backward",
    undefined="never, unless numbers overflow",
    compute=synaptic_flow,
)
