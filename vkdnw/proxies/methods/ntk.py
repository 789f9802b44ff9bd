"""NTK: the condition number of the neural tangent kernel (Chen et al., TE-NAS, ICLR 2021)."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor

from vkdnw.proxies.eigenvalues import eigenvalues
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined

COLUMNS = 2**16
"""Gradients are multiplied with each other in float64, so many parameters at a time."""

RELEASED_UNDEFINED = -1e5


def negative_condition_number(shared: TrainPass, call: Call) -> Value:
    """-lambda_max / lambda_min of the Gram matrix ``[B, B]`` of per-image gradients.

    Row n is the gradient of the sum of image n's logits, in train mode, with respect to all
    parameters. Gradients are in the model's dtype, the Gram matrix and its eigenvalues float64.
    Released: only parameters whose name contains "weight"; 0 / 0 is -1e5, and a smallest eigenvalue
    that rounding made negative gives a positive value. Source: Chen et al., "Neural Architecture
    Search on ImageNet in Four GPU Hours", section 3.1.1.
    """
    names = [
        name for name, _ in call.model.named_parameters() if not call.released or "weight" in name
    ]
    spectrum = eigenvalues(gram(shared.per_image_gradients(names)))
    smallest, largest = float(spectrum[0]), float(spectrum[-1])
    if call.released:
        return Value(_released(smallest, largest))
    if smallest <= len(spectrum) * sys.float_info.epsilon * largest:
        return undefined("the gradients of the images are linearly dependent", -math.inf)
    return Value(-largest / smallest)


def gram(rows: Tensor) -> Tensor:
    """``rows @ rows.T`` in float64, ``[B, B]``."""
    product = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for piece in rows.split(COLUMNS, dim=1):
        product.addmm_(piece.double(), piece.double().T)
    return product


def _released(smallest: float, largest: float) -> float:
    if smallest == 0:
        return RELEASED_UNDEFINED if largest == 0 else -sys.float_info.max
    return -largest / smallest


ntk = Proxy(
    name="ntk",
    title="TE-NAS NTK",
    reference="Chen et al., TE-NAS, ICLR 2021",
    input="images or noise",
    mode="train",
    init="kaiming_normal",
    cost="backward per sample",
    undefined="minus infinity where the gradients of the images are linearly dependent",
    released='only parameters with "weight" in their name; -1e5 for 0 / 0',
    requires=("weight gradients",),
    from_pass=negative_condition_number,
)
