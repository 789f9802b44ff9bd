"""DSS: synaptic diversity and saliency of a transformer (Zhou et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import nn

from vkdnw.proxies.absolute_weights import absolute_weights
from vkdnw.proxies.eigenvalues import singular_values
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, checked, undefined
from vkdnw.proxies.weight_layers import multiplying_weights


def diversity_and_saliency(call: Call) -> Value:
    """Diversity of attention's weights plus saliency of all other weights.

    With the absolute values of all parameters and buffers, one image of ones and R the sum of the
    logits: the sum over attention's projections of nuc(dR/dW) nuc(W), nuc the nuclear norm, plus
    the sum over every other convolution and linear layer of sum abs(W dR/dW). Normalisation is kept
    as it is. All of it is float64. Projections of attention are the weights of
    ``nn.MultiheadAttention`` and of linear layers inside a module whose class or name says
    attention.
    Source: Zhou et al., "Training-free Transformer Architecture Search" (TF-TAS), equations 4 to 7.
    """
    attention = attention_weights(call.model) & multiplying_weights(call.model).keys()
    if not attention:
        return undefined("no module of the model is an attention, whose diversity this score sums")
    total = 0.0
    for name, (weight, slope) in absolute_weights(call).items():
        if name in attention:
            norms = singular_values(torch.stack([slope, weight]).flatten(2)).sum(dim=1)
            total += float(norms.prod())
        else:
            total += float((weight * slope).abs().sum())
    return checked(total)


def attention_weights(model: nn.Module) -> set[str]:
    """Names of the parameters of projections inside modules that are attentions.

    Convolutions there do not count: attention over channels, such as squeeze and excitation, mixes
    no tokens and is often called attention, too.
    """
    found: set[str] = set()
    for prefix, module in model.named_modules():
        words = f"{type(module).__name__} {prefix.rpartition('.')[2]}".lower()
        if "attn" in words or "attention" in words:
            for name, layer in module.named_modules(prefix=prefix):
                if isinstance(layer, nn.Linear | nn.MultiheadAttention):
                    found |= {each for each, _ in layer.named_parameters(name, recurse=False)}
    return found


dss = Proxy(
    name="dss",
    title="DSS of TF-TAS",
    reference="Zhou et al., Training-free Transformer Architecture Search, CVPR 2022",
    input="ones",
    mode="eval",
    init="kaiming_normal",
    cost="backward",
    undefined="NaN where no module is an attention",
    compute=diversity_and_saliency,
)
