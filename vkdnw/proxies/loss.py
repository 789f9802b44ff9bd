"""The loss and its gradients by torch's own layers, for proxies that share no pass.

The native layers are not used here: second derivatives need layers that have them, and
heavy-tailed sums need the least rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw.checks import check_logits, pick_logits
from vkdnw.proxies.inputs import check_labels
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import as_images
from vkdnw.proxies.weight_gradients import weight_gradients
from vkdnw.proxies.weight_layers import multiplying_weights


def differentiable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of convolutions and linear layers, alone among the parameters in the graph."""
    weights = multiplying_weights(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in weights)
    return weights


def loss_gradients(
    call: Call,
    weights: dict[str, nn.Parameter],
    images: Tensor,
    labels: Tensor,
    *,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """d (mean cross-entropy of a batch) / d weight, by name; zeros where there is no dependence.

    Raises ValueError where the logits are not ``[B, C]`` and finite.
    """
    batch = as_images(images, call.model)
    logits = pick_logits(call.model(batch), call.output)
    check_logits(logits, len(batch))
    check_labels(labels, logits.shape[1])
    found = weight_gradients(
        F.cross_entropy(logits, labels.to(logits.device, torch.int64, copy=True)),
        list(weights.values()),
        create_graph=create_graph,
        retain_graph=create_graph,
    )
    return dict(zip(weights, found, strict=True))
