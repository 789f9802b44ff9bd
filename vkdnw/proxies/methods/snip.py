"""SNIP: how much the loss depends on each weight (Lee et al., ICLR 2019)."""

from __future__ import annotations

from vkdnw.proxies.inputs import given
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked
from vkdnw.proxies.weight_layers import multiplying_weights


def connection_sensitivity(shared: TrainPass, call: Call) -> Value:
    """sum |w d loss/dw| over weights of convolutions and linear layers.

    The loss is the mean cross-entropy. Gradients are in the model's dtype, sums in float64. Source:
    Lee et al., "SNIP", equation 5, as a score by Abdelfattah et al., ICLR 2021.
    """
    gradients = shared.cross_entropy_gradients(given("labels", call.inputs.labels))
    return checked(
        sum(
            float((weight.detach().double() * gradients[name]).abs().sum())
            for name, weight in multiplying_weights(call.model).items()
        )
    )


snip = Proxy(
    name="snip",
    title="SNIP",
    reference="Lee et al., SNIP, ICLR 2019; as a score Abdelfattah et al., ICLR 2021",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    sums_weights=True,
    cost="backward",
    undefined="never, unless numbers overflow",
    requires=("weight gradients",),
    from_pass=connection_sensitivity,
)
