"""GradNorm: the size of the gradient of the loss (Abdelfattah et al., ICLR 2021)."""

from __future__ import annotations

import math

from torch import Tensor

from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.random_draws import random_labels
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked
from vkdnw.proxies.weight_layers import multiplying_weights


def gradient_norm(shared: TrainPass, call: Call) -> Value:
    """Sum over layers of the norm of d loss / d weight, loss the mean cross-entropy.

    Layers are convolutions and linear layers. Released: the norm of the gradient with respect to
    all parameters together. Labels are random unless they are given. Gradients are in the model's
    dtype, norms in float64. Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS",
    section 3.1.
    """
    labels = call.inputs.noise_labels
    if labels is None:
        source = call.generator("grad_norm")
        labels = random_labels(len(shared.logits), shared.logits.shape[1], source)
    gradients = shared.cross_entropy_gradients(labels)
    if call.released:
        return checked(math.sqrt(sum(_square(gradient) for gradient in gradients.values())))
    weights = multiplying_weights(call.model)
    return checked(sum(math.sqrt(_square(gradients[name])) for name in weights))


def _square(gradient: Tensor) -> float:
    return float(gradient.double().square().sum())


grad_norm = Proxy(
    name="grad_norm",
    title="GradNorm",
    reference="Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021",
    input="noise",
    labels="random",
    mode="train",
    init="kaiming_normal",
    sums_weights=True,
    cost="backward",
    undefined="never, unless numbers overflow",
    released="the norm of the gradient of all parameters, not the sum over layers",
    requires=("weight gradients",),
    from_pass=gradient_norm,
)
