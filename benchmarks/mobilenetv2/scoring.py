"""vkdnw.score against the straightforward implementation, on networks of the MobileNetV2 space.

As benchmarks/scoring.py does it: the straightforward one is the tests' reference,
vmap(jacrev(functional_call)) over the chosen scalars, in float32 and with all of torch's threads.
Both run in turn, in one process, and every ratio is taken within a round; peak memory is that of a
process of its own, less its memory before the first score. Accuracy is against the reference in
float64. On a machine that others use, only CPU times on one thread (OMP_NUM_THREADS=1) mean much.

    python benchmarks/mobilenetv2/scoring.py [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import vkdnw
from vkdnw.search.spaces import mobilenetv2

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reference  # the slow obvious implementation that the tests compare with
from measure.in_turn import (
    compare_networks,
    compared,
    compared_memory,
    costs,
    peak_memory,
    print_added_peak,
)

NETWORKS = {
    "large kernels": "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K7(8,32,2,16,3)"
    "SuperResIDWE4K7(32,72,2,40,1)SuperResIDWE4K5(72,40,2,72,3)SuperResIDWE6K3(40,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)",
    "wide": "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE2K7(8,32,2,16,3)SuperResIDWE6K3(32,48,2,32,1)"
    "SuperResIDWE2K3(48,240,2,72,3)SuperResIDWE6K3(240,128,2,96,1)SuperConvK1BNRELU(128,2048,1,1)",
    "little expansion": "SuperConvK3BNRELU(3,32,2,1)SuperResIDWE1K3(32,32,2,16,3)"
    "SuperResIDWE1K3(32,120,2,80,3)SuperResIDWE6K7(120,64,2,96,2)SuperResIDWE6K3(64,128,2,96,1)"
    "SuperConvK1BNRELU(128,2048,1,1)",
}
"""Found by searches under 450 MFLOPs (at 224 pixels)."""
BATCH, RESOLUTION, CLASSES = 8, 64, 10
WEIGHTS = vkdnw.weights.sampled()


def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = mobilenetv2.build(NETWORKS[name], classes=CLASSES)
    return vkdnw.initialise(model, "kaiming_normal", seed=0).eval().to(dtype)


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, RESOLUTION, RESOLUTION, generator=generator).to(dtype)


def straightforward(model: nn.Module, batch: Tensor) -> object:
    selection = vkdnw.weights.select(model, WEIGHTS)
    return reference.reference_score(model, batch, selection, chunk_size=None)


METHODS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "straightforward": straightforward,
    "vkdnw": lambda model, batch: vkdnw.score(model, batch, weights=WEIGHTS),
}


def print_peak(name: str, method: str) -> None:
    model, batch = network(name), images()

    def forward() -> None:
        with torch.no_grad():
            model(batch[:1])

    print_added_peak(forward, lambda: METHODS[method](model, batch))


def accuracy(name: str) -> dict[str, object]:
    """Distances of both from the straightforward implementation in float64."""
    exact = _jacobian(name, torch.float64)
    ours = vkdnw.jacobian(network(name), images(), weights=WEIGHTS)
    straight = _jacobian(name, torch.float32)
    return {
        "Jacobian error": _relative(ours, exact),
        "Jacobian error, straightforward": _relative(straight, exact),
    }


def _jacobian(name: str, dtype: torch.dtype) -> Tensor:
    model = network(name, dtype)
    selection = vkdnw.weights.select(model, WEIGHTS)
    return reference.reference_jacobian(model, images(dtype), selection)


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def measure(name: str, rounds: int) -> dict[str, object]:
    model, batch = network(name), images()
    calls = {method: partial(run, model, batch) for method, run in METHODS.items()}
    memory = {method: peak_memory(__file__, name, method) for method in METHODS}
    return {
        "network": name,
        "MFLOPs": mobilenetv2.cost(NETWORKS[name]).flops / 1e6,
        **compared("straightforward", costs(calls, rounds)),
        **compared_memory("straightforward", memory),
        **accuracy(name),
    }


def main() -> None:
    header = f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}"
    compare_networks(__doc__ or "", header, NETWORKS, 7, measure, print_peak)


if __name__ == "__main__":
    main()
