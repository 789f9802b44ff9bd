"""ZiCo: how steady gradients are from batch to batch (Li et al., ICLR 2023)."""

from __future__ import annotations

import math

from torch import Tensor

from vkdnw.proxies.inputs import given
from vkdnw.proxies.loss import differentiable_weights, loss_gradients
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, checked, undefined


def inverse_variation(call: Call) -> Value:
    """Sum over layers of log(sum over weights of mean |g| / deviation of |g|), over two batches.

    g are the gradients of the mean cross-entropy with respect to weights of convolutions and linear
    layers, the deviation that of the population. Weights of deviation 0 are left out, and layers
    without any other. Released: the deviation of g with its sign. Source: Li et al., "ZiCo",
    equation 17.

    With two batches the ratio is heavy-tailed, so rounding shows: gradients are in the model's
    dtype, by torch's own layers, and the rest in float64; a float32 model's value differs from a
    float64 model's by up to about 2 on NAS-Bench-201, where values span hundreds.
    """
    weights = differentiable_weights(call.model)
    inputs = call.inputs
    first = loss_gradients(call, weights, inputs.read("images"), given("labels", inputs.labels))
    second = loss_gradients(
        call,
        weights,
        given("second_images", inputs.second_images),
        given("second_labels", inputs.second_labels),
    )
    ratios = [layer_ratio(first[name], second[name], call.released) for name in weights]
    if not call.released and not any(ratios):
        return undefined("no layer has a gradient that differs between the batches")
    return checked(sum((math.log(ratio) for ratio in ratios if ratio > 0), 0.0))


def layer_ratio(first: Tensor, second: Tensor, signed: bool) -> float:
    """sum of mean |g| / deviation over a layer's weights, from its gradients on two batches."""
    first, second = first.double(), second.double()
    mean = (first.abs() + second.abs()) / 2
    apart = first - second if signed else first.abs() - second.abs()
    deviation = apart.abs() / 2
    steady = deviation > 0
    return float((mean[steady] / deviation[steady]).sum())


zico = Proxy(
    name="zico",
    title="ZiCo",
    reference="Li et al., ZiCo, ICLR 2023",
    input="images",
    labels="real",
    batches=2,
    mode="train",
    init="kaiming_normal",
    sums_weights=True,
    cost="backwards",
    undefined="NaN where no layer has a gradient that differs between the batches",
    released="the deviation of the signed gradient; 0 where no gradient differs",
    compute=inverse_variation,
)
