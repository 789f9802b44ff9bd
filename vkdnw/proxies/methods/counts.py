"""Costs of a network: multiply-adds, parameters, layers. The plainest training-free scores."""

from __future__ import annotations

from vkdnw.proxies.flop_count import forward_flops
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value


def multiply_adds(call: Call) -> Value:
    """Multiply-adds of one sample in eval mode: half of torch's count of FLOPs.

    Convolutions, matrix products, attention and recurrent layers count, by torch's formulas
    (``torch.utils.flop_counter``) and those of :mod:`vkdnw.proxies.flop_count`; normalisation,
    activations, pooling and biases do not.
    """
    sample = call.inputs.read("shape")[:1].detach().clone()
    return Value(forward_flops(call.model, sample) / 2)


flops = Proxy(
    name="flops",
    title="FLOPs",
    reference="multiply-adds of one sample",
    input="shape",
    mode="eval",
    init="none",
    cost="forward",
    undefined="never",
    compute=multiply_adds,
)

complexity = flops.renamed(
    "complexity", "AZ-NAS complexity", "Lee and Ham, AZ-NAS, CVPR 2024: the FLOPs"
)

parameters = Proxy(
    name="parameters",
    title="Parameters",
    reference="scalars in all parameter tensors",
    input="none",
    mode="none",
    init="none",
    cost="none",
    undefined="never",
    compute=lambda call: Value(float(sum(tensor.numel() for tensor in call.model.parameters()))),
)

layers = Proxy(
    name="layers",
    title="Layers",
    reference="Tybl and Neumann, VKDNW, CVPR 2025: parameter tensors",
    input="none",
    mode="none",
    init="none",
    cost="none",
    undefined="never",
    compute=lambda call: Value(float(sum(1 for _ in call.model.parameters()))),
)
