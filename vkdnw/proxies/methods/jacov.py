"""Jacov: how differently a network's output changes with each image (Mellor et al., 2020)."""

from __future__ import annotations

import torch

from vkdnw.proxies.eigenvalues import eigenvalues
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked, undefined

EPSILON = 1e-5


def eigenvalue_score(shared: TrainPass, call: Call) -> Value:
    """-sum_i (log(v_i + k) + 1 / (v_i + k)), k = 1e-5; about -B at best, for B images.

    v are the eigenvalues of the correlation matrix ``[B, B]`` of the rows of the input Jacobian:
    row n is d (sum of the batch's logits) / d (image n). Source: Mellor et al., "Neural
    Architecture Search without Training", arXiv 2006.04647v1. The gradient is the model's dtype,
    the rest float64.
    """
    rows = shared.input_gradient.flatten(1).to(torch.float64, copy=True)
    rows -= rows.mean(dim=1, keepdim=True)
    norms = rows.norm(dim=1)
    if not bool((norms > 0).all()):
        flat = int((norms > 0).int().argmin())
        return undefined(f"the gradient at image {flat} is constant, so it has no correlation")
    rows /= norms[:, None]
    shifted = eigenvalues(rows @ rows.T).clamp(min=0.0) + EPSILON
    return checked(-float((shifted.log() + 1.0 / shifted).sum()))


jacov = Proxy(
    name="jacov",
    title="Jacov",
    reference="Mellor et al., Neural Architecture Search without Training, arXiv 2006.04647v1",
    input="images or noise",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="NaN where the gradient at an image is constant",
    requires=("input gradient",),
    request=lambda shared, call: shared.request_input_gradient(),
    from_pass=eigenvalue_score,
)
