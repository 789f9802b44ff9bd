"""What a network costs: multiply-adds, parameters, layers. The plainest training-free scores."""

from __future__ import annotations

from contextlib import suppress

import torch

from vkdnw.proxies.flop_count import forward_flops
from vkdnw.proxies.proxy import Call, Proxy
from vkdnw.proxies.value import Value
from vkdnw.runtime.garbage_collection import gc_disabled


def multiply_adds(call: Call) -> Value:
    """Multiply-adds of one sample in eval mode: half of torch's count of FLOPs.

    Convolutions, matrix products and attention count, by torch's formulas
    (``torch.utils.flop_counter``); normalisation, activations, pooling and biases do not.
    """
    sample = call.inputs.read("shape")[:1].detach().clone()
    state = torch.get_rng_state()
    with gc_disabled():
        with suppress(Exception):  # also of a model that is at fault: its error is raised below
            return Value(forward_flops(call.model, sample) / 2)
        torch.set_rng_state(state)
        return Value(forward_flops(call.model, sample, put_off=False) / 2)


flops = Proxy(
    name="flops",
    title="FLOPs",
    reference="multiply-adds of one sample",
    input="shape",
    mode="eval",
    init="none",
    cost="forward",
    undefined="never",
    alone=multiply_adds,
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
    alone=lambda call: Value(float(sum(tensor.numel() for tensor in call.model.parameters()))),
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
    alone=lambda call: Value(float(sum(1 for _ in call.model.parameters()))),
)
