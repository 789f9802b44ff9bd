"""Equal networks: which are merged, which are not, and that merging keeps the logits."""

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from vkdnw.search.spaces import nb201

C1, C3, SKIP, POOL, NONE = (
    "nor_conv_1x1",
    "nor_conv_3x3",
    "skip_connect",
    "avg_pool_3x3",
    "none",
)


def arch(e10, e20, e21, e30, e31, e32):
    return nb201.format((e10, e20, e21, e30, e31, e32))


EQUAL = {
    "nodes 1 and 2 change names": (
        arch(C3, C1, NONE, NONE, POOL, SKIP),
        arch(C1, C3, NONE, NONE, SKIP, POOL),
    ),
    "a node fed by one skip is its source": (
        arch(SKIP, C3, NONE, NONE, C1, POOL),
        arch(C3, NONE, NONE, C1, POOL, NONE),
    ),
    "a node read by one skip is its target": (
        arch(NONE, NONE, NONE, C3, NONE, NONE),
        arch(NONE, C3, NONE, NONE, NONE, SKIP),
    ),
    "pooling twice is pooling a pooled node": (
        arch(POOL, SKIP, SKIP, NONE, NONE, POOL),
        arch(POOL, NONE, POOL, NONE, SKIP, SKIP),
    ),
    "an unread pool does not matter": (
        arch(POOL, NONE, NONE, C3, NONE, NONE),
        arch(NONE, NONE, NONE, C3, NONE, NONE),
    ),
    "a pool without input does not matter": (
        arch(NONE, NONE, NONE, C3, POOL, NONE),
        arch(NONE, NONE, NONE, C3, NONE, NONE),
    ),
}

DIFFERENT = {
    "two skips between the same nodes are twice the input": (
        arch(SKIP, NONE, NONE, SKIP, SKIP, NONE),
        arch(NONE, NONE, NONE, SKIP, NONE, NONE),
    ),
    "a shared convolution is not two of the same input": (
        arch(C3, SKIP, SKIP, NONE, C1, C1),
        arch(C3, C3, SKIP, NONE, C1, C1),
    ),
    "a pool of one node is not that of another": (
        arch(C3, C3, NONE, NONE, POOL, SKIP),
        arch(C3, C3, NONE, NONE, SKIP, SKIP),
    ),
    "the kernel matters": (
        arch(NONE, NONE, NONE, C3, NONE, NONE),
        arch(NONE, NONE, NONE, C1, NONE, NONE),
    ),
    "a dead convolution counts": (
        arch(C3, NONE, NONE, SKIP, NONE, NONE),
        arch(NONE, NONE, NONE, SKIP, NONE, NONE),
    ),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL.keys())
def test_equal_networks_have_one_representative(one, other):
    assert nb201.canonical(one) == nb201.canonical(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_different_networks_have_different_representatives(one, other):
    assert nb201.canonical(one) != nb201.canonical(other)


def pairings(operations):
    """Every way to number the convolutions of a cell, 1x1 and 3x3 apart: {edge: number}."""
    edges = {
        kind: [str(e) for e, op in zip(nb201.EDGES, operations, strict=True) if op == kind]
        for kind in (C1, C3)
    }
    for small in itertools.permutations(range(len(edges[C1]))):
        for large in itertools.permutations(range(len(edges[C3]))):
            yield dict(zip(edges[C1] + edges[C3], small + large, strict=True))


def draw(module: nn.Module, seed: int) -> None:
    """Weights and BatchNorm statistics from a seed, of both signs so that every ReLU matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(-1.0, 1.0, generator=generator)
            if name.endswith("running_var"):
                tensor.add_(1.5)


def outputs(
    network: nn.Module, cells: dict[int, nn.Module], arch: str, x: Tensor
) -> Iterator[Tensor]:
    """The network's outputs under every numbering; equal numbers in one cell get equal weights."""
    for numbers in pairings(nb201.parse(arch)):
        for index, cell in cells.items():
            for edge, number in numbers.items():
                draw(cell.edge[edge], 100 * index + number)
        with torch.no_grad():
            yield network(x)


def logits(arch: str) -> Iterator[Tensor]:
    network = nb201.build(arch, channels=2, cells=1).double().eval()
    draw(network, seed=0)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cells = {index: network.cells[index] for index in (0, 2, 4)}
    return outputs(network, cells, arch, x)


def cell_outputs(arch: str) -> Iterator[Tensor]:
    cell = nb201.build(arch, channels=4, cells=1).cells[0].double().eval()
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return outputs(cell, {0: cell}, arch, x)


def classes_of(architectures):
    members: dict[str, list[str]] = {}
    for arch in architectures:
        members.setdefault(nb201.canonical(arch), []).append(arch)
    return members


def test_equal_networks_give_equal_logits_under_some_pairing_of_their_convolutions():
    merged = [
        (representative, members[-1])
        for representative, members in classes_of(nb201.enumerate()).items()
        if len(members) > 1
    ]
    for one, other in random.Random(0).sample(merged, 20):
        expected = next(logits(one))
        assert any(torch.allclose(expected, found, rtol=1e-9) for found in logits(other)), (
            f"{other} is not {one}"
        )


def test_two_live_architectures_are_merged_exactly_when_some_pairing_gives_equal_outputs():
    # The definition itself, tried by brute force and without looking at the cells' structure: the
    # least output over all numberings of the convolutions.
    classes = classes_of(nb201.live())
    by_output: dict[tuple[float, ...], set[str]] = {}
    for representative in random.Random(1).sample(sorted(classes), 80):
        for arch in classes[representative]:
            least = min(tuple(out.flatten().tolist()) for out in cell_outputs(arch))
            key = tuple(float(f"{value:.6g}") for value in least)
            by_output.setdefault(key, set()).add(representative)
    assert len(by_output) == 80
    assert all(len(merged) == 1 for merged in by_output.values())


def test_pruning_keeps_the_logits_of_an_untrained_network():
    dead = [arch for arch in nb201.enumerate() if not nb201.is_live(arch)]
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for arch in random.Random(2).sample(dead, 15):
        full = nb201.build(arch, channels=4, cells=1).double().eval()
        pruned = nb201.build(nb201.prune(arch), channels=4, cells=1).double().eval()
        pruned.load_state_dict({name: full.state_dict()[name] for name in pruned.state_dict()})
        torch.testing.assert_close(pruned(x), full(x), rtol=1e-12, atol=1e-12)


def test_a_representative_represents_itself_and_costs_the_same():
    for arch in nb201.enumerate():
        representative = nb201.canonical(arch)
        assert nb201.canonical(representative) == representative
        for cost in (nb201.flops, nb201.parameters, nb201.layers):
            assert cost(representative) == cost(arch), (cost, arch)


def test_the_representative_of_a_live_architecture_is_live():
    assert {nb201.canonical(arch) for arch in nb201.live()} <= set(nb201.live())


def test_the_number_of_different_networks():
    # Dead convolutions make the difference: without them every network is that of a live one.
    assert len(classes_of(nb201.live())) == 5_044
    assert len(classes_of(nb201.enumerate())) == 6_372
    assert {nb201.canonical(nb201.prune(arch)) for arch in nb201.enumerate()} == set(
        classes_of(nb201.live())
    )


def test_a_bad_string_is_refused():
    with pytest.raises(nb201.ArchitectureError, match="edge 1<-0"):
        nb201.canonical("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|")
