"""AZ-NAS expressivity: how evenly features use their channels (Lee and Ham, CVPR 2024)."""

from __future__ import annotations

import math

from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined


def sum_of_entropies(shared: TrainPass, call: Call) -> Value:
    """Sum over features F_0 .. F_K of the entropy of their spectra, in nats.

    Source: AZ-NAS, section 3.1; entropies are those of
    :func:`vkdnw.proxies.feature_spectra.spectral_entropies`. The authors' code adds 1e-8 inside the
    logarithm, which moves a sum by about 1e-7, and lets float32 rounding make negative eigenvalues,
    and so minus infinity, of pooled features; neither is done.
    """
    flat = flat_feature(shared)
    if flat is not None:
        return undefined(flat, -math.inf if call.released else math.nan)
    return Value(sum(shared.entropies))


def flat_feature(shared: TrainPass) -> str | None:
    """Names a feature without a spectrum, if there is one."""
    for feature, entropy in zip(shared.features, shared.entropies, strict=True):
        if math.isnan(entropy):
            return f"feature {feature.name} is the same at every pixel, so it has no spectrum"
    return None


expressivity = Proxy(
    name="expressivity",
    title="AZ-NAS expressivity",
    reference="Lee and Ham, AZ-NAS, CVPR 2024",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN where a feature is constant",
    released="minus infinity where a feature is constant",
    requires=("spectra",),
    from_pass=sum_of_entropies,
)
