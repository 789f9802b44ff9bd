"""The costs of proxies beside VKDNW, for a list of them and for a guess of how long a run takes."""

from collections.abc import Iterable, Mapping

RELATIVE_COSTS: Mapping[str, float] = {
    "layers": 0.01,
    "parameters": 0.02,
    "dss": 0.02,
    "complexity": 0.02,
    "l2_norm": 0.03,
    "flops": 0.03,
    "capacity": 0.03,
    "meco": 0.08,
    "synflow": 0.1,
    "expressivity": 0.29,
    "progressivity": 0.3,
    "jacov": 0.38,
    "epe_nas": 0.39,
    "trainability": 0.42,
    "token_mixing": 0.5,
    "naswot": 0.54,
    "linear_region": 0.56,
    "fisher": 0.61,
    "near": 0.64,
    "snip": 0.66,
    "plain": 0.66,
    "grad_norm": 0.68,
    "naswot_layers": 0.78,
    "swap": 0.84,
    "swap_regularised": 0.86,
    "vkdnw_matrices": 0.96,
    "vkdnw_normalised": 0.97,
    "vkdnw_single": 1.0,
    "vkdnw": 1.0,
    "zen": 1.24,
    "zico": 1.39,
    "vkdnw_calibrated": 1.39,
    "fisher_dimension": 1.66,
    "fisher_volume": 1.68,
    "gradsign": 2.9,
    "grasp": 5.5,
    "ntk": 21.0,
}
"""CPU time relative to VKDNW's, each alone, on networks of NAS-Bench-201 (docs/proxies.md)."""

UNKNOWN = 1.0
"""Taken for a proxy that was not measured."""


def relative_cost(names: Iterable[str]) -> float:
    """The sum of the costs of proxies; those that share passes cost less together."""
    return sum(RELATIVE_COSTS.get(name, UNKNOWN) for name in names)
