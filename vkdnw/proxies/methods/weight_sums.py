"""Sums over weights: plain, and the L2 norm. Baselines of zero-cost proxies."""

from __future__ import annotations

from vkdnw.proxies.inputs import given
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked
from vkdnw.proxies.weight_layers import multiplying_weights


def signed_sensitivity(shared: TrainPass, call: Call) -> Value:
    """sum of w d loss/dw over weights of layers: SNIP without the absolute value.

    The loss is the mean cross-entropy. Weights that a BatchNorm follows add 0, but for rounding:
    the loss does not depend on their scale. Source: Abdelfattah et al., "Zero-Cost Proxies for
    Lightweight NAS", ICLR 2021, as a baseline in Krishnakumar et al., "NAS-Bench-Suite-Zero",
    NeurIPS 2022; Mozer and Smolensky, "Skeletonization", NeurIPS 1988.
    """
    gradients = shared.cross_entropy_gradients(given("labels", call.inputs.labels))
    return checked(
        sum(
            float((weight.detach().double() * gradients[name]).sum())
            for name, weight in multiplying_weights(call.model).items()
        )
    )


def sum_of_norms(call: Call) -> Value:
    """Sum over layers of the L2 norm of their weights, in float64.

    Source: Abdelfattah et al., as above: NAS-Bench-Suite-Zero's "l2_norm".
    """
    weights = multiplying_weights(call.model)
    return checked(sum(float(weight.detach().double().norm()) for weight in weights.values()))


plain = Proxy(
    name="plain",
    title="Plain",
    reference="Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    sums_weights=True,
    undefined="never, unless numbers overflow",
    requires=("weight gradients",),
    from_pass=signed_sensitivity,
)

l2_norm = Proxy(
    name="l2_norm",
    title="L2 norm",
    reference="Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021",
    input="none",
    mode="none",
    init="kaiming_normal",
    cost="weights",
    undefined="never, unless numbers overflow",
    compute=sum_of_norms,
)
