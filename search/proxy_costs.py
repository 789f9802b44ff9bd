"""The costs of proxies beside VKDNW, for a list of them and for a guess of how long a run takes."""

from collections.abc import Iterable, Mapping

RELATIVE_COSTS: Mapping[str, float] = {
    "layers": 0.01,
    "parameters": 0.01,
    "l2_norm": 0.02,
    "dss": 0.02,
    "complexity": 0.04,
    "flops": 0.05,
    "capacity": 0.05,
    "meco": 0.07,
    "synflow": 0.1,
    "progressivity": 0.29,
    "expressivity": 0.33,
    "epe_nas": 0.38,
    "jacov": 0.38,
    "trainability": 0.43,
    "token_mixing": 0.47,
    "naswot": 0.53,
    "linear_region": 0.54,
    "fisher": 0.59,
    "near": 0.59,
    "snip": 0.64,
    "plain": 0.65,
    "grad_norm": 0.72,
    "naswot_layers": 0.74,
    "swap_regularised": 0.78,
    "swap": 0.82,
    "vkdnw_matrices": 0.96,
    "vkdnw_normalised": 0.97,
    "vkdnw_single": 1.0,
    "vkdnw": 1.0,
    "zen": 1.14,
    "zico": 1.32,
    "vkdnw_calibrated": 1.37,
    "fisher_dimension": 1.65,
    "fisher_volume": 1.83,
    "gradsign": 2.6,
    "grasp": 5.4,
    "ntk": 20.0,
}
"""CPU time relative to VKDNW's, each alone, on networks of NAS-Bench-201 (docs/proxies.md)."""

UNKNOWN = 1.0
"""Taken for a proxy that was not measured."""


def relative_cost(names: Iterable[str]) -> float:
    """The sum of the costs of proxies; those that share passes cost less together."""
    return sum(RELATIVE_COSTS.get(name, UNKNOWN) for name in names)
