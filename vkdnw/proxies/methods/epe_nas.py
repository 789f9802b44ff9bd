"""EPE-NAS: how the input gradients of one class correlate (Lopes et al., ICANN 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.proxies.inputs import given
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked, undefined

EPSILON = 1e-5
MANY_CLASSES = 100
"""Above so many classes in the batch, classes are compared with each other."""


def correlation_within_classes(shared: TrainPass, call: Call) -> Value:
    """The sum over classes of abs(e_c), e_c the sum of log(abs(r) + 1e-5) over correlations r.

    The correlations are those of all pairs of images of the class, in their gradients of the sum
    of the batch's logits; each image with itself is among them. Classes of one image count 0. With
    more than 100 classes in the batch e_c is divided by the class's images, and the value is the
    mean of abs(e_c - e_d) over all pairs of classes, c = d among them. The gradient is in the
    model's dtype, the rest float64. Source: Lopes, Alirezazadeh and Alexandre, "EPE-NAS: Efficient
    Performance Estimation Without Training for NAS", ICANN 2021, equations 4 to 6.
    """
    rows = shared.input_gradient.flatten(1).to(torch.float64, copy=True)
    labels = given("labels", call.inputs.labels).to(rows.device)
    rows -= rows.mean(dim=1, keepdim=True)
    norms = rows.norm(dim=1)
    if not bool((norms > 0).all()):
        flat = int((norms > 0).int().argmin())
        return undefined(f"the gradient at image {flat} is constant, so it has no correlation")
    rows /= norms[:, None]
    classes = labels.unique()
    many = len(classes) > MANY_CLASSES
    sums = torch.stack([_log_correlations(rows[labels == each], many) for each in classes])
    if many:
        return checked(float((sums[:, None] - sums[None, :]).abs().mean()))
    return checked(float(sums.abs().sum()))


def _log_correlations(rows: Tensor, mean: bool) -> Tensor:
    """Of unit rows ``[images of a class, inputs]``."""
    if len(rows) == 1:
        return rows.new_zeros(())
    total = ((rows @ rows.T).abs() + EPSILON).log().sum()
    return total / len(rows) if mean else total


epe_nas = Proxy(
    name="epe_nas",
    title="EPE-NAS",
    reference="Lopes et al., EPE-NAS, ICANN 2021",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="NaN where the gradient at an image is constant",
    requires=("input gradient",),
    request=lambda shared, call: shared.request_input_gradient(),
    from_pass=correlation_within_classes,
)
