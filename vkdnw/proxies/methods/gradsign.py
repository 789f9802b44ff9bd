"""GradSign: whether single images pull weights in the same direction (Zhang and Jia, ICLR 2022)."""

from __future__ import annotations

import torch

from vkdnw.proxies.inputs import given
from vkdnw.proxies.loss import differentiable_weights, loss_gradients
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, undefined


def agreement_of_signs(call: Call) -> Value:
    """Sum over weights of |sum over images of sign(d loss of the image / dw)|, at most B a weight.

    Weights are those of convolutions and linear layers, the loss the cross-entropy. Every image is
    a batch of its own in train mode, so BatchNorm normalises it by itself. sign(0) is 0, and a
    weight that the loss does not depend on counts as 0. Source: Zhang and Jia, "GradSign",
    algorithm 1. The released code takes the mean over weights, which is higher the shallower the
    network and ranks the other way round.
    """
    weights = differentiable_weights(call.model)
    images, labels = call.inputs.read("images"), given("labels", call.inputs.labels)
    sums = {name: torch.zeros_like(weight.detach()) for name, weight in weights.items()}
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        try:
            gradients = loss_gradients(call, weights, image, label)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            return undefined("BatchNorm reads one pixel of the single image; take larger images")
        for name, gradient in gradients.items():
            if not bool(torch.isfinite(gradient).all()):
                return undefined(f"the gradient of an image with respect to {name} is not finite")
            sums[name] += gradient.sign()
    agreement = sum(float(total.abs().double().sum()) for total in sums.values())
    count = sum(total.numel() for total in sums.values())
    return Value(agreement / count if call.released else agreement)


gradsign = Proxy(
    name="gradsign",
    title="GradSign",
    reference="Zhang and Jia, GradSign, ICLR 2022",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    sums_weights=True,
    cost="backward per sample",
    released="the mean over weights, for their sum",
    undefined="NaN where a gradient is not finite, or a BatchNorm reads a single pixel",
    compute=agreement_of_signs,
)
