"""Linear regions: how many of a network's linear pieces images fall into (Chen et al., TE-NAS)."""

from __future__ import annotations

from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined


def distinct_patterns(shared: TrainPass, call: Call) -> Value:
    """The number of different patterns of active ReLU units among the B images, 1 to B.

    The paper counts the regions of a thin network with one input channel, on many 3x3 images; on a
    network and a batch as they are, almost every image is in a region of its own, and the value is
    B for every network that is not degenerate. Source: Chen et al., "Neural Architecture Search on
    ImageNet in Four GPU Hours", section 3.1.2.
    """
    if shared.relus.reason is not None:
        return undefined(shared.relus.reason)
    alike = shared.relus.kernel == shared.relus.units  # [B, B]
    repeated = alike.tril(diagonal=-1).any(dim=1)  # the same as an earlier image's
    return Value(float((~repeated).sum()))


linear_region = Proxy(
    name="linear_region",
    title="TE-NAS linear regions",
    reference="Chen et al., TE-NAS, ICLR 2021",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="NaN without ReLUs",
    requires=("relus",),
    from_pass=distinct_patterns,
)
