"""Fisher pruning: how much the loss depends on each channel (Theis et al., 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.conv import _ConvNd

from vkdnw.checks import check_logits, pick_logits
from vkdnw.error_explanations import differentiation_explained
from vkdnw.proxies.inputs import check_labels, given
from vkdnw.proxies.layer_outputs import record_outputs
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import as_images
from vkdnw.proxies.value import Value, checked, undefined


def channel_sensitivity(call: Call) -> Value:
    """Sum over channels of all layers of 1 / (2 B) sum_n (sum of z g over positions)^2.

    z is the output of a convolution or linear layer for image n, and g the gradient of that image's
    cross-entropy with respect to it; in train mode BatchNorm lets it depend on the other images as
    well, and g is that of the sum over images. Passes run in the model's dtype, sums in float64.
    Source: Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", equation
    8; Turner et al., "BlockSwap", ICLR 2020; as a score Abdelfattah et al., ICLR 2021, whose code
    takes the mean over images for the sum, which divides every value by B^2.
    """
    images, labels = call.inputs.read("images"), given("labels", call.inputs.labels)
    outputs: list[tuple[Tensor, int]] = []  # as they were returned, and the axis of the channels
    edges: list[GradientEdge] = []  # later layers may overwrite an output

    def see(layer: nn.Module, output: Tensor) -> None:
        if output.requires_grad:
            edges.append(get_gradient_edge(output))
            outputs.append(
                (output.detach().clone(), output.dim() - 1 if isinstance(layer, nn.Linear) else 1)
            )

    for parameter in call.model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    batch = as_images(images, call.model)
    with record_outputs(call.model, lambda each: isinstance(each, _ConvNd | nn.Linear), see):
        logits = pick_logits(call.model(batch), call.output)
    check_logits(logits, len(batch))
    check_labels(labels, logits.shape[1])
    if not outputs:
        return undefined("the model calls no convolution and no linear layer")
    loss = F.cross_entropy(
        logits, labels.to(logits.device, torch.int64, copy=True), reduction="sum"
    )
    with differentiation_explained():
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(loss, edges, allow_unused=True)
    total = 0.0
    for (output, axis), gradient in zip(outputs, gradients, strict=True):
        if gradient is None:
            continue
        if len(output) != len(batch):
            return undefined(
                f"a layer returns {list(output.shape)} for {len(batch)} images, whose first axis "
                "is not the images"
            )
        product = (output.double() * gradient).movedim(axis, 1)
        sums = product.reshape(*product.shape[:2], -1).sum(2)  # [B, C]
        total += float(sums.square().sum()) / (2 * len(batch))
    return checked(total)


fisher = Proxy(
    name="fisher",
    title="Fisher pruning",
    reference="Theis et al., arXiv 1801.05787; Turner et al., BlockSwap, ICLR 2020",
    input="images",
    labels="real",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="NaN where the first axis of a layer's output is not the images",
    compute=channel_sensitivity,
)
