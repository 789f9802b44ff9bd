"""AZ-NAS progressivity: whether expressivity grows with depth (Lee and Ham, CVPR 2024)."""

from __future__ import annotations

import math
from itertools import pairwise

from vkdnw.proxies.methods.expressivity import flat_feature
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined


def smallest_gain(shared: TrainPass, call: Call) -> Value:
    """min over k of S_k - S_(k-1), with S_k the spectral entropy of feature F_k (section 3.2)."""
    flat = flat_feature(shared)
    if flat is not None:
        return undefined(flat, -math.inf if call.released else math.nan)
    return Value(min(after - before for before, after in pairwise(shared.entropies)))


progressivity = Proxy(
    name="progressivity",
    title="AZ-NAS progressivity",
    reference="Lee and Ham, AZ-NAS, CVPR 2024",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN where a feature is constant",
    released="minus infinity where a feature is constant",
    requires=("spectra",),
    from_pass=smallest_gain,
)
