"""Proxies on classifiers of any kind, against their definitions in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.proxies import reference
from tests.proxies.networks import (
    NETWORKS,
    Classifier,
    FunctionalBlock,
    network,
    without_normalisation,
)
from vkdnw import proxies
from vkdnw.proxies import Inputs, Value
from vkdnw.proxies.blocks import blocks

BATCH = 5
CLASSES = 4
ROUNDING = 1e-9  # of sums of thousands of float64 terms, relative
CONVOLUTIONAL = [name for name in NETWORKS if name != "transformer"]
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

each_network = pytest.mark.parametrize("name", NETWORKS)
each_convolutional = pytest.mark.parametrize("name", CONVOLUTIONAL)


def inputs() -> Inputs:
    source = torch.Generator().manual_seed(2)

    def draw() -> Tensor:
        return torch.randn(BATCH, 3, 8, 8, generator=source, dtype=torch.float64)

    labels = torch.arange(BATCH) % CLASSES
    return Inputs(
        noise=draw(),
        noise_labels=labels,
        perturbation=draw(),
        images=draw(),
        labels=labels,
        second_images=draw(),
        second_labels=labels.flip(0),
    )


def computed(name: str, model: Classifier, read: Inputs | None = None) -> float:
    return proxies.compute([name], model, read or inputs(), seed=0)[name].value


@each_network
def test_losses(name: str) -> None:
    model, read = network(name), inputs()
    images, labels = read.images, read.labels
    expected = {
        "grad_norm": reference.grad_norm(model, read.noise, read.noise_labels),
        "snip": reference.snip(model, images, labels),
        "zico": reference.zico(model, (images, labels), (read.second_images, read.second_labels)),
        "gradsign": reference.gradsign(model, images, labels),
        "ntk": reference.ntk(model, images),
        "jacov": reference.jacov(model, images),
    }
    found = proxies.compute(expected, model, read, seed=0)
    for proxy, value in expected.items():
        # The condition number of the NTK magnifies rounding; the others add it up.
        rel = ROUNDING * abs(value) if proxy == "ntk" else ROUNDING
        assert found[proxy].value == pytest.approx(value, rel=rel), proxy


@each_network
def test_grasp(name: str) -> None:
    model, read = network(name), inputs()
    expected = reference.grasp(model, read.images, read.labels)
    # Central differences of step 1e-6 are right to about 1e-6 of the derivative.
    assert computed("grasp", network(name)) == pytest.approx(expected, rel=1e-5)


@each_network
def test_features(name: str) -> None:
    model, read = network(name), inputs()
    entropies = reference.entropies(model.train(), read.noise)
    assert computed("expressivity", model) == pytest.approx(sum(entropies), rel=ROUNDING)
    gains = [after - before for before, after in pairwise(entropies)]
    assert computed("progressivity", model) == pytest.approx(min(gains), abs=ROUNDING)
    shapes = [feature.shape for feature in reference.features(model, read.noise)]
    source = torch.Generator().manual_seed(4)
    signs = [
        2.0 * torch.randint(2, shape, generator=source).double() - 1 for shape in shapes[:0:-1]
    ]
    expected = reference.trainability(model, read.noise, signs)
    found = proxies.trainability(model, Inputs(noise=read.noise, signs=tuple(signs)))
    assert found.value == pytest.approx(expected, rel=ROUNDING)


@each_convolutional
def test_zen(name: str) -> None:
    read = inputs()
    expected = reference.zen(network(name).train(), read.noise, read.perturbation)
    assert computed("zen", network(name)) == pytest.approx(expected, rel=ROUNDING)


@each_network
def test_float32_only_rounds(name: str) -> None:
    # With 16 channels, layers of a float32 model have native gradients that apply a ReLU's mask.
    names = ("trainability", "jacov", "grad_norm", "expressivity", "progressivity")
    model, noise, labels = network(name), inputs().noise, inputs().labels
    double = proxies.compute(names, model, Inputs(noise, labels), seed=0)
    single = proxies.compute(names, model.float(), Inputs(noise.float(), labels), seed=0)
    for proxy in names:
        assert single[proxy].value == pytest.approx(double[proxy].value, rel=1e-4), proxy


def test_synflow() -> None:
    expected = reference.synflow(network("without normalisation"), (3, 8, 8))
    found = computed("synflow", network("without normalisation"))
    assert found == pytest.approx(expected, rel=ROUNDING)


class Switching(nn.Module):
    """A ReLU of some kind between two linear layers, all of it in the open."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(192, 9), nn.Linear(9, CLASSES)
        self.relu = relu

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.relu(self.first(images.flatten(1))))


class Hardsigmoid(nn.Module):
    """An activation whose second derivative torch does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


def test_what_cannot_be_differentiated_has_no_value() -> None:
    found = proxies.grasp(Switching(Hardsigmoid()).double(), inputs())
    assert np.isnan(found.value)
    assert found.reason.startswith("a layer cannot be differentiated twice: derivative for")
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4))
    found = proxies.gradsign(model.double(), inputs())
    assert np.isnan(found.value)
    assert "one pixel of the single image" in found.reason


class ChannelsBehind(nn.Module):
    """A block on maps ``[B, H, W, C]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Linear(channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + F.gelu(self.inner(maps))


class Ahead(nn.Module):
    def __init__(self, block: ChannelsBehind) -> None:
        super().__init__()
        self.block = block

    def forward(self, maps: Tensor) -> Tensor:
        return self.block(maps.movedim(1, -1)).movedim(-1, 1)


def test_maps_with_channels_behind() -> None:
    torch.manual_seed(0)
    behind = [ChannelsBehind(6) for _ in range(3)]
    stem = nn.Conv2d(3, 6, 1)
    images, names = inputs().noise, ("blocks.0", "blocks.1", "blocks.2")
    signs = tuple(torch.ones(BATCH, 6, 8, 8).double().cumsum(3) % 2 * 2 - 1 for _ in range(2))
    plain = Classifier(stem, [Ahead(block) for block in behind], nn.Flatten()).double()
    moved = Classifier(
        nn.Sequential(stem, Moved()), [*behind], nn.Sequential(nn.Flatten())
    ).double()
    for proxy, given in (("expressivity", None), ("trainability", signs)):
        turned = None if given is None else tuple(each.movedim(1, -1) for each in given)
        values = [
            proxies.compute([proxy], model, Inputs(images, signs=s), seed=0, features=names)
            for model, s in ((plain, given), (moved, turned))
        ]
        assert values[0][proxy].value == pytest.approx(values[1][proxy].value, rel=ROUNDING)


class Moved(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.movedim(1, -1)


def test_flops_are_multiply_adds() -> None:
    model = without_normalisation()
    stem, block, head = 64 * 3 * 6 * 9, 64 * (6 * 6 * 9 + 6 * 6), 6 * 4
    assert proxies.flops(model, torch.zeros(2, 3, 8, 8)).value == stem + 3 * block + head
    assert proxies.complexity(model, torch.zeros(1, 3, 8, 8)) == Value(stem + 3 * block + head)
    assert proxies.parameters(model).value == sum(p.numel() for p in model.parameters())
    assert proxies.layers(model).value == 2 + 3 * 4 + 2


def test_a_block_that_does_nothing() -> None:
    model = network("without normalisation")
    model.blocks[1] = nn.Sequential(nn.Identity())
    found = proxies.trainability(model, inputs(), features=("stem", "blocks.0", "blocks.1"))
    assert found.value == -np.inf
    assert found.reason == "the block that ends in blocks.1 returns its input"


def test_blocks_by_rule() -> None:
    nested = Classifier(
        nn.Conv2d(3, 6, 1),
        [nn.Sequential(*without_normalisation().blocks), *without_normalisation().blocks],
        nn.Linear(6, 4),
    )
    expected = [f"blocks.0.{n}" for n in range(3)] + [f"blocks.{n}" for n in range(1, 4)]
    assert blocks(nested) == tuple(expected)
    stages = nn.ModuleDict({name: FunctionalBlock(6) for name in "ab"})
    assert blocks(nn.ModuleDict({"stem": nn.Linear(1, 1), "body": stages})) == ("body.a", "body.b")
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))
    assert blocks(plain) == ("0", "3")
    with pytest.raises(ValueError, match=r"no blocks were found in Switching.*features="):
        blocks(Switching(F.relu))


def test_features_must_be_returned_once() -> None:
    model = network("without normalisation")
    model.blocks[1] = model.blocks[0]
    with pytest.raises(ValueError, match=r"blocks\.0 was called 2 times"):
        proxies.expressivity(model, inputs(), features=("stem", "blocks.0"))


def test_dropout_follows_the_seed_and_leaves_the_random_state() -> None:
    model = Switching(nn.Sequential(nn.ReLU(), nn.Dropout(0.5))).double()
    images, state = inputs().noise, torch.get_rng_state()
    first, again = (proxies.jacov(model, images, seed=1) for _ in range(2))
    assert first == again
    assert first != proxies.jacov(model, images, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_alone_reads_a_batch_with_labels() -> None:
    model, read = network("in place"), inputs()
    found = proxies.snip(copy.deepcopy(model), read.images, read.labels)
    assert found.value == computed("snip", model)
    with pytest.raises(ValueError, match=r"proxy zico reads images: inputs\.second_images is None"):
        proxies.zico(model, read.images, read.labels)
    with pytest.raises(ValueError, match=r"proxy grasp reads images: inputs\.labels is None"):
        proxies.grasp(model, read.images)
