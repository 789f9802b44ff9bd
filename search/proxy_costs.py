"""The costs of proxies beside VKDNW, for a list of them and for a guess of how long a run takes."""

from collections.abc import Iterable, Mapping

RELATIVE_COSTS: Mapping[str, float] = {
    "parameters": 0.0,
    "layers": 0.0,
    "flops": 0.01,
    "complexity": 0.01,
    "capacity": 0.01,
    "synflow": 0.05,
    "progressivity": 0.18,
    "expressivity": 0.18,
    "jacov": 0.27,
    "trainability": 0.29,
    "linear_region": 0.39,
    "naswot": 0.40,
    "naswot_layers": 0.40,
    "grad_norm": 0.49,
    "snip": 0.50,
    "zen": 0.98,
    "vkdnw": 1.0,
    "vkdnw_single": 1.0,
    "zico": 1.24,
    "gradsign": 1.8,
    "grasp": 4.2,
    "ntk": 20.0,
}
"""CPU time relative to VKDNW's, each alone, on networks of NAS-Bench-201 (docs/proxies.md)."""

UNKNOWN = 1.0
"""Taken for a proxy that was not measured."""


def relative_cost(names: Iterable[str]) -> float:
    """The sum of the costs of proxies; those that share passes cost less together."""
    return sum(RELATIVE_COSTS.get(name, UNKNOWN) for name in names)
