"""SynFlow: the flow through a network of absolute weights (Tanaka et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch.func import functional_call

from vkdnw.checks import pick_logits
from vkdnw.proxies.call import Call
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.value import Value, checked
from vkdnw.proxies.weight_layers import multiplying_weights, without_normalisation


def synaptic_flow(call: Call) -> Value:
    """sum |w dR/dw| over weights of convolutions and linear layers, R the sum of the logits.

    The input is ones, one sample; parameters and buffers are replaced by their absolute values and
    normalisation by the identity. All of it is float64: values span tens of orders of magnitude.
    The sum is not taken to its logarithm. Source: Tanaka et al., "Pruning neural networks without
    any data by iteratively conserving synaptic flow", section 5, as a score by Abdelfattah et al.,
    ICLR 2021.
    """
    state = {
        name: tensor.detach().double().abs() if tensor.is_floating_point() else tensor
        for name, tensor in (*call.model.named_parameters(), *call.model.named_buffers())
    }
    weights = {name: state[name].requires_grad_() for name in multiplying_weights(call.model)}
    ones = torch.ones_like(call.inputs.read("ones")[:1], dtype=torch.float64)
    with without_normalisation(call.model):
        logits = pick_logits(functional_call(call.model, state, (ones,)), call.output)
    flow = torch.autograd.grad(
        logits.sum(), list(weights.values()), allow_unused=True, materialize_grads=True
    )
    terms = zip(weights.values(), flow, strict=True)
    return checked(float(sum((weight * part).abs().sum().detach() for weight, part in terms)))


synflow = Proxy(
    name="synflow",
    title="SynFlow",
    reference="Tanaka et al., NeurIPS 2020; as a score Abdelfattah et al., ICLR 2021",
    input="ones",
    mode="eval",
    init="kaiming_normal",
    cost="backward",
    undefined="never, unless numbers overflow",
    compute=synaptic_flow,
)
