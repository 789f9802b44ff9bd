"""Token mixing: how many tokens of a block's input one token of its output reads."""

from __future__ import annotations

import torch
from torch import Tensor

from vkdnw.proxies.features import Feature, pixels
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, checked, undefined


def sum_of_mixing(shared: TrainPass, call: Call) -> Value:
    """Sum over blocks of the entropy, in nats, of how a token's gradient is distributed.

    In each image one token of F_k is drawn, and random signs on its channels are differentiated
    through the block. The squared norms of that gradient at the tokens of F_(k-1), divided by their
    sum, are a distribution; its entropy is the logarithm of an effective number of tokens that are
    read. The value of a block is the mean over images. Attention, convolutions, pooling and mixing
    of tokens by linear layers all count; a block that treats every token by itself adds 0.

    Pixels of maps are tokens. The gradient is in the model's dtype, the rest float64. This score is
    this package's own: no paper has published it.
    """
    source = call.generator("token_mixing")
    total = 0.0
    for before, after in zip(shared.features, shared.features[1:], strict=False):
        if any(len(each.shape) < 3 for each in (before, after)):
            return undefined(f"feature {after.name} or the one before has no tokens")
        reach = shared.feature_gradient(before, after, _one_token(after, source))
        energy = _tokens(reach, before).double().square().sum(2)  # [B, tokens]
        sums = energy.sum(1, keepdim=True)
        if not bool((sums > 0).all()):
            return undefined(f"no gradient passes the block that ends in {after.name}")
        total += float(torch.special.entr(energy / sums).sum(1).mean())
    return checked(total)


def _one_token(feature: Feature, source: torch.Generator) -> Tensor:
    """Random signs at one random token of each image, zeros elsewhere; shaped as the feature."""
    channels = feature.shape[feature.channels]
    images = feature.shape[0]
    tokens = feature.shape.numel() // (images * channels)
    cotangent = torch.zeros(images, tokens, channels, device="cpu")
    chosen = torch.randint(tokens, (images,), generator=source, device="cpu")
    signs = torch.randint(2, (images, channels), generator=source, device="cpu") * 2 - 1
    cotangent[torch.arange(images, device="cpu"), chosen] = signs.float()
    sides = [size for axis, size in enumerate(feature.shape) if axis not in (0, feature.channels)]
    return cotangent.view(images, *sides, channels).movedim(-1, feature.channels)


def _tokens(value: Tensor, feature: Feature) -> Tensor:
    """``[B, tokens, channels]``."""
    return pixels(value, feature.channels).view(len(value), -1, value.shape[feature.channels])


token_mixing = Proxy(
    name="token_mixing",
    title="Token mixing",
    reference="this package",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="backward",
    undefined="NaN where a feature has no tokens, or a block passes no gradient",
    requires=("features",),
    from_pass=sum_of_mixing,
)
