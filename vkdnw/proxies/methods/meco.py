"""MeCo: how independent the channels of a layer are for one image (Jiang et al., NeurIPS 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vkdnw.proxies.eigenvalues import eigenvalues
from vkdnw.proxies.layer_outputs import record_outputs
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import as_leaf
from vkdnw.proxies.value import Value, checked, undefined


def sum_of_smallest_eigenvalues(call: Call) -> Value:
    """Sum over layers of the smallest eigenvalue of the correlations of their channels.

    One image of noise goes through the model. A layer is a module without modules inside; its
    output has channels on the axis behind the images, whose positions are the samples of a
    Pearson correlation. A channel that does not vary correlates with none, itself included, so that
    its layer adds 0. Where there are fewer positions than channels, the matrix is singular and the
    eigenvalue 0. The pass runs in the model's dtype, the rest in float64.

    Released: every module counts, containers once more. Source: Jiang, Wang and Bie, "MeCo:
    Zero-Shot NAS with One Data and Single Forward Pass via Minimum Eigenvalue of Correlation",
    NeurIPS 2023, equation 8.
    """
    values: list[float] = []

    def chosen(module: nn.Module) -> bool:
        return call.released or next(module.children(), None) is None

    def see(module: nn.Module, output: Tensor) -> None:
        if output.dim() > 1 and output.shape[1] > 1 and len(output):
            values.append(smallest_eigenvalue(output[0].detach().reshape(output.shape[1], -1)))

    noise = call.inputs.read("noise")[:1]
    try:
        with torch.no_grad(), record_outputs(call.model, chosen, see):
            call.model(as_leaf(noise, channels_last=False).requires_grad_(False))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return undefined("BatchNorm reads one pixel of the single image; take larger images")
    if not values:
        return undefined("no layer returns more than one channel")
    return checked(sum(values))


def smallest_eigenvalue(channels: Tensor) -> float:
    """Of the correlation matrix of ``[channels, positions]``."""
    count, positions = channels.reshape(len(channels), -1).shape
    if positions <= count:  # with the mean taken out, the rank is at most positions - 1
        return 0.0
    centred = channels.double() - channels.double().mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        return 0.0
    unit = centred / norms
    return float(eigenvalues(unit @ unit.T)[0].clamp(min=0.0))


meco = Proxy(
    name="meco",
    title="MeCo",
    reference="Jiang et al., MeCo, NeurIPS 2023",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN where no layer has two channels, or a BatchNorm reads a single pixel",
    released="every module counts, containers once more",
    compute=sum_of_smallest_eigenvalues,
)
