"""NEAR: the effective ranks of activations (Husistein et al., ICLR 2025)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vkdnw.proxies.eigenvalues import singular_values
from vkdnw.proxies.features import channel_axis, pixels
from vkdnw.proxies.layer_outputs import record_outputs
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.relu_calls import is_relu
from vkdnw.proxies.train_pass import as_leaf
from vkdnw.proxies.value import Value, checked, undefined
from vkdnw.weights import MULTIPLYING

_aten = torch.ops.aten


def sum_of_effective_ranks(call: Call) -> Value:
    """Sum of the effective ranks of the outputs of layers with weights and activation functions.

    The matrix of an output has a row for each pixel or token and a column for each channel; of the
    rows, as many as there are channels are drawn, so that matrices are square. The effective rank
    is exp of the entropy of the normalised singular values (Roy and Vetterli, 2007). Layers are
    convolutions, linear and recurrent layers, activation functions every call of one, however it is
    written. The pass runs in the model's dtype, ranks are float64. A matrix of zeros counts 0.

    Source: Husistein, Reiher and Eckhoff, "NEAR: A Training-Free Pre-Estimator of Machine Learning
    Model Performance", ICLR 2025, equation 5. The authors' code draws consecutive rows.
    """
    noise = call.inputs.read("noise")
    square = noise.dim() == 4 and noise.shape[2] == noise.shape[3]
    source = call.generator("near")
    ranks: list[float] = []

    def see(output: Tensor) -> None:
        if output.dim() < 2 or not output.is_floating_point():
            return
        rows = pixels(output.detach(), channel_axis(output.shape, square))
        if len(rows) > rows.shape[1]:
            drawn = torch.randperm(len(rows), generator=source, device="cpu")[: rows.shape[1]]
            rows = rows[drawn.sort().values.to(rows.device)]
        ranks.append(effective_rank(rows))

    batch = as_leaf(noise, channels_last=False).requires_grad_(False)
    with (
        torch.no_grad(),
        record_outputs(
            call.model, lambda each: isinstance(each, MULTIPLYING), lambda _, value: see(value)
        ),
        _Activations(see),
    ):
        call.model(batch)
    if not ranks:
        return undefined("the model calls no layer with a weight and no activation function")
    return checked(sum(ranks))


def effective_rank(matrix: Tensor) -> float:
    """exp(-sum p log p), p the singular values divided by their sum; 0 of zeros."""
    values = singular_values(matrix)
    total = values.sum()
    if not total > 0:
        return 0.0
    return math.exp(float(torch.special.entr(values / total).sum()))


class _Activations(TorchDispatchMode):
    """Reports the outputs of activation functions."""

    def __init__(self, see: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._see = see

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        counts = func._overloadpacket in _ACTIVATIONS or is_relu(func, args, kwargs)
        returned = func(*args, **kwargs)
        if counts:
            self._see(returned)
        return returned


_ACTIVATIONS = frozenset(
    {
        *(_aten.celu, _aten.celu_, _aten.elu, _aten.elu_, _aten.gelu, _aten.gelu_),
        *(_aten.hardsigmoid, _aten.hardsigmoid_, _aten.hardswish, _aten.hardswish_),
        *(_aten.hardtanh, _aten.hardtanh_, _aten.leaky_relu, _aten.leaky_relu_),
        *(_aten.log_sigmoid_forward, _aten.mish, _aten.mish_, _aten.relu, _aten.relu_),
        *(_aten._prelu_kernel, _aten.rrelu_with_noise, _aten.rrelu_with_noise_),
        *(_aten.sigmoid, _aten.sigmoid_, _aten.silu, _aten.silu_, _aten.softplus),
        *(_aten.tanh, _aten.tanh_),
    }
)
"""Operators that are activation functions; ReLU has more ways to be written."""


near = Proxy(
    name="near",
    title="NEAR",
    reference="Husistein et al., NEAR, ICLR 2025",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN without a layer and an activation function",
    compute=sum_of_effective_ranks,
)
