"""What a network costs: multiply-adds, parameters, layers. The plainest training-free scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vkdnw.proxies.proxy import Call, Proxy
from vkdnw.proxies.value import Value


def multiply_adds(call: Call) -> Value:
    """Multiply-adds of one sample in eval mode: half of torch's count of FLOPs.

    Convolutions, matrix products and attention count, by torch's formulas
    (``torch.utils.flop_counter``); normalisation, activations, pooling and biases do not.
    """
    sample = call.inputs.read("shape")[:1].detach().clone()
    with torch.no_grad(), _Counter() as counter:
        call.model(sample)
    return Value(counter.total / 2)


class _Counter(TorchDispatchMode):
    """Sums torch's formulas over every operator; its own counter also tracks modules, slowly."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        returned = func(*args, **kwargs)
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=returned)
        return returned


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
