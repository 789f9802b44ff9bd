"""VKDNW: the entropy of the Fisher information's spectrum (Tybl and Neumann, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Callable

import vkdnw.api
from vkdnw.options import Convention
from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.value import Value, undefined
from vkdnw.runtime.call_lock import from_within

REFERENCE = "Tybl and Neumann, Training-free NAS through Variance of Knowledge, CVPR 2025"


def fisher_entropy(call: Call) -> Value:
    """Entropy of the deciles of the Fisher matrix's eigenvalues: :func:`vkdnw.score`."""
    return _value(call, lambda score: score.vkdnw)


def fisher_entropy_within_layers(call: Call) -> Value:
    """Number of parameter tensors plus VKDNW, which is below 2.2: it orders equal numbers."""
    return _value(call, lambda score: score.single)


def _value(call: Call, read: Callable[[vkdnw.Score], float]) -> Value:
    try:
        return Value(read(_score(call)))
    except vkdnw.ZeroFisherError as error:
        return undefined(str(error))


def _score(call: Call) -> vkdnw.Score:
    if "score" not in call.shared:
        convention: Convention = "released" if call.released else "fisher"
        with from_within():
            call.shared["score"] = vkdnw.api.score(
                call.model, call.inputs.read("noise"), output=call.output, convention=convention
            )
    score: vkdnw.Score = call.shared["score"]
    return score


vkdnw_entropy = Proxy(
    name="vkdnw",
    title="VKDNW",
    reference=REFERENCE,
    input="noise",
    mode="eval",
    init="kaiming_normal",
    cost="backwards",
    undefined="NaN where the Fisher matrix is zero",
    released="the Fisher matrix of the released code, mean of (L J)^T (L J)",
    compute=fisher_entropy,
)

vkdnw_single = Proxy(
    name="vkdnw_single",
    title="VKDNW single",
    reference=REFERENCE,
    input="noise",
    mode="eval",
    init="kaiming_normal",
    cost="backwards",
    undefined="NaN where the Fisher matrix is zero",
    released="the Fisher matrix of the released code, mean of (L J)^T (L J)",
    compute=fisher_entropy_within_layers,
)
