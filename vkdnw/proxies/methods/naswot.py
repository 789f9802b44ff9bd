"""NASWOT: how differently images switch a network's ReLUs (Mellor et al., ICML 2021)."""

from __future__ import annotations

import math
import sys

from vkdnw.proxies.eigenvalues import eigenvalues
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import TrainPass
from vkdnw.proxies.value import Value, undefined


def log_determinant(shared: TrainPass, call: Call) -> Value:
    """log det K, with K_ij the number of ReLU units in which images i and j agree.

    All ReLUs count, each time they are called: modules and functions, whatever their shape. K is
    exact. Source: Mellor et al., "Neural Architecture Search without Training", ICML 2021,
    equation 2.
    """
    if shared.relus.reason is not None:
        return undefined(shared.relus.reason)
    spectrum = eigenvalues(shared.relus.kernel)
    rounding = len(spectrum) * sys.float_info.epsilon * float(spectrum[-1])
    if float(spectrum[0]) <= rounding:
        return undefined(
            "the kernel of activation patterns is singular: some images switch the ReLUs alike",
            -math.inf,
        )
    return Value(float(spectrum.log().sum()))


naswot = Proxy(
    name="naswot",
    title="NASWOT",
    reference="Mellor et al., Neural Architecture Search without Training, ICML 2021",
    input="noise",
    mode="train",
    init="kaiming_normal",
    cost="forward",
    undefined="minus infinity where the kernel of patterns is singular, NaN without ReLUs",
    requires=("relus",),
    from_pass=log_determinant,
)
