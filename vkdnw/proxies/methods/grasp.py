"""GraSP: how removing a weight changes the gradient's flow (Wang et al., ICLR 2020)."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vkdnw.proxies.inputs import given
from vkdnw.proxies.loss import differentiable_weights, loss_gradients
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, checked, undefined


def gradient_flow(call: Call) -> Value:
    """-w^T H g over weights of convolutions and linear layers.

    g is the gradient and H the Hessian of the mean cross-entropy, at temperature 1; the product H g
    is the derivative of g^T g with one factor held fixed. Passes run in the model's dtype, the sum
    in float64. Source: Wang et al., "Picking Winning Tickets Before Training by Preserving
    Gradient Flow", equation 8, as a score by Abdelfattah et al., ICLR 2021: the minus makes higher
    better.
    """
    weights = differentiable_weights(call.model)
    images, labels = call.inputs.read("images"), given("labels", call.inputs.labels)
    with sdpa_kernel(SDPBackend.MATH):  # the attention that can be differentiated twice
        gradients = loss_gradients(call, weights, images, labels, create_graph=True)
        flow = torch.stack([(part.detach() * part).sum() for part in gradients.values()]).sum()
        try:
            products = torch.autograd.grad(
                flow, list(weights.values()), allow_unused=True, materialize_grads=True
            )
        except RuntimeError as error:
            if "derivative for" not in str(error):
                raise
            return undefined(f"a layer cannot be differentiated twice: {error}")
    pairs = zip(weights.values(), products, strict=True)
    return checked(-sum(float((w.detach().double() * product).sum()) for w, product in pairs))


grasp = Proxy(
    name="grasp",
    title="GraSP",
    reference="Wang et al., GraSP, ICLR 2020; as a score Abdelfattah et al., ICLR 2021",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    sums_weights=True,
    cost="backwards",
    undefined="NaN where a layer cannot be differentiated twice",
    compute=gradient_flow,
)
