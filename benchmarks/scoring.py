"""vkdnw.score against the straightforward implementation, on NAS-Bench-201 networks.

The straightforward one is the tests' reference: vmap(jacrev(functional_call)) over the chosen
scalars, softmax factor, product, SVD, in float32, with all of torch's threads. Both run in turn,
in one process, and every ratio is taken within a round; peak memory is that of a process of its
own, less its memory before the first score. Accuracy is against the reference in float64.

Times on the clock mean something on a quiet machine only: where others compute, threads that wait
for one another lose most. CPU times on one thread (OMP_NUM_THREADS=1) move less.

The bound is (1 + C - 1) forward passes at the rate the convolutions of the network reach here in
pieces that stay in cache, one piece a thread; Winograd's algorithm, with fewer multiplications in
the backward passes, may go below it.

    python benchmarks/scoring.py [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from measure.in_turn import (
    Cost,
    compare_networks,
    compared,
    compared_memory,
    cost,
    costs,
    peak_memory,
    print_added_peak,
)
from torch import Tensor, nn

import vkdnw
from vkdnw.search.spaces import nb201

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import reference  # the slow obvious implementation that the tests compare with

NETWORKS = {
    "all conv3x3": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "mixed": "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "light": "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
}
BATCH, RESOLUTION, CLASSES = 64, 32, 10
PIECE = 8  # samples of a forward pass that stays in cache


def network(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = nb201.build(NETWORKS[name], classes=CLASSES)
    return vkdnw.initialise(model, "kaiming_normal", seed=0).eval().to(dtype)


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, RESOLUTION, RESOLUTION, generator=generator).to(dtype)


def straightforward(model: nn.Module, batch: Tensor, chunk: int | None = None) -> object:
    selection = vkdnw.weights.select(model, vkdnw.weights.first())
    return reference.reference_score(model, batch, selection, chunk_size=chunk)


METHODS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "straightforward": straightforward,
    "vkdnw": lambda model, batch: vkdnw.score(model, batch),
    "vkdnw bfloat16": lambda model, batch: vkdnw.score(model, batch, dtype=torch.bfloat16),
}


def costs_of(name: str, rounds: int) -> dict[str, list[Cost]]:
    """The costs of every method."""
    model, batch = network(name), images()
    calls = {method: partial(run, model, batch) for method, run in METHODS.items()}
    return costs(calls, rounds)


def print_peak(name: str, method: str) -> None:
    model, batch = network(name), images()

    def forward() -> None:
        with torch.no_grad():
            model(batch[:1])

    print_added_peak(forward, lambda: METHODS[method](model, batch))


def accuracy(name: str) -> dict[str, float]:
    """Distances from the straightforward implementation in float64."""
    model, batch = network(name, torch.float64), images(torch.float64)
    selection = vkdnw.weights.select(model, vkdnw.weights.first())
    jacobian = reference.reference_jacobian(model, batch, selection, chunk_size=8)
    fisher = reference.reference_fisher(jacobian, reference.reference_logits(model, batch))
    exact = reference.spectrum_score(fisher).vkdnw
    single, batch32 = network(name), images()
    jacobian32 = reference.reference_jacobian(single, batch32, selection, chunk_size=8)
    logits32 = reference.reference_logits(single, batch32)
    straight = reference.reference_fisher(jacobian32, logits32)
    ours = vkdnw.fisher(single, batch32)
    half = vkdnw.score(single, batch32, dtype=torch.bfloat16)

    def relative(matrix: Tensor) -> float:
        return float((matrix - fisher).norm() / fisher.norm())

    return {
        "vkdnw": exact,
        "fisher error": relative(ours),
        "fisher error, straightforward": relative(straight),
        "fisher error, float64": float(
            (vkdnw.fisher(model, batch) - fisher).norm() / fisher.norm()
        ),
        "entropy error": abs(vkdnw.score(single, batch32).vkdnw - exact),
        "entropy error, straightforward": abs(reference.spectrum_score(straight).vkdnw - exact),
        "entropy error, bfloat16": abs(half.vkdnw - exact),
    }


def bound(name: str, rounds: int) -> float:
    """Seconds of C forward passes of the network's convolutions at the rate reached in cache."""
    threads = torch.get_num_threads()
    batch = images().contiguous(memory_format=torch.channels_last)
    layers = _convolutions(network(name), batch[:PIECE])
    torch.set_num_threads(1)

    def forward_pieces(_: int) -> None:
        with torch.inference_mode():
            for layer, x in layers:
                for _ in range(BATCH // PIECE // threads):
                    layer(x)

    with ThreadPoolExecutor(threads) as pool:

        def whole_batch() -> None:
            list(pool.map(forward_pieces, range(threads)))

        whole_batch()
        best = min(cost(whole_batch).wall for _ in range(rounds))
    torch.set_num_threads(threads)
    return CLASSES * best


def _convolutions(model: nn.Module, piece: Tensor) -> list[tuple[nn.Module, Tensor]]:
    found: list[tuple[nn.Module, Tensor]] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    handles = [
        module.register_forward_hook(lambda layer, given, _: found.append((layer, given[0])))
        for module in convolutions
    ]
    with torch.inference_mode():
        model(piece)
    for handle in handles:
        handle.remove()
    return found


def measure(name: str, rounds: int) -> dict[str, object]:
    measured = costs_of(name, rounds)
    memory = {method: peak_memory(__file__, name, method) for method in METHODS}
    wall = statistics.median(c.wall for c in measured["vkdnw"])
    return {
        "network": name,
        **compared("straightforward", measured),
        **compared_memory("straightforward", memory),
        "time over bound": wall / bound(name, rounds),
        **accuracy(name),
    }


def main() -> None:
    header = f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}"
    compare_networks(__doc__ or "", header, NETWORKS, 5, measure, print_peak)


if __name__ == "__main__":
    main()
