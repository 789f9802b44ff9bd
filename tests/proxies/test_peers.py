"""Scores of other papers against their definitions in float64, on networks of several kinds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.proxies import peer_reference as peers
from tests.proxies.networks import NETWORKS, Classifier, network
from vkdnw import proxies
from vkdnw.proxies import Inputs
from vkdnw.proxies.methods.meco import smallest_eigenvalue
from vkdnw.proxies.methods.near import effective_rank

BATCH, CLASSES = 5, 4
ROUNDING = 1e-9
CONVOLUTIONAL = [name for name in NETWORKS if name != "transformer"]

each_network = pytest.mark.parametrize("name", NETWORKS)
each_convolutional = pytest.mark.parametrize("name", CONVOLUTIONAL)


def inputs(count: int = BATCH) -> Inputs:
    source = torch.Generator().manual_seed(2)
    images = torch.randn(count, 3, 8, 8, generator=source, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 2, 1])[torch.arange(count) % 5]
    return Inputs(noise=images, images=images, labels=labels)


@each_network
def test_sums_over_weights_and_gradients(name: str) -> None:
    read = inputs()
    model = network(name).train()
    expected = {
        "plain": peers.plain(model, read.images, read.labels),
        "l2_norm": peers.l2_norm(model),
        "epe_nas": peers.epe_nas(model, read.images, read.labels),
        "fisher": peers.fisher(model, read.images, read.labels),
    }
    found = proxies.compute(expected, network(name), read, seed=0)
    for proxy, value in expected.items():
        # Layers in front of a BatchNorm add 0 to plain: the rest is a sum that cancels.
        scale = 1e-12 if proxy == "plain" else 0.0
        assert found[proxy].value == pytest.approx(value, rel=ROUNDING, abs=scale), proxy


def test_epe_nas_compares_many_classes_with_each_other() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 120)).double()
    images = inputs(210).images
    labels = torch.arange(210) % 105
    expected = peers.epe_nas(model, images, labels)
    found = proxies.epe_nas(model, images, labels)
    assert found.value == pytest.approx(expected, rel=ROUNDING)


@each_convolutional
@pytest.mark.parametrize("count", [2, 40, 70])
def test_swap(name: str, count: int) -> None:
    """Of 70 images the patterns are longer than a word."""
    read = inputs(count)
    expected = peers.swap(network(name).train(), read.noise)
    assert proxies.swap(network(name), read).value == expected


class Activated(nn.Module):
    """Convolutions with a ReLU, and with another activation of their sum."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 7, 3)
        self.relu, self.activation, self.head = nn.ReLU(), activation, nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.second(self.relu(self.first(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


KEEP_SIGN = (nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.ELU, nn.LeakyReLU)


@pytest.mark.parametrize("kind", KEEP_SIGN)
def test_naswot_of_layers_sums_the_logarithms_of_all_activations(kind: type[nn.Module]) -> None:
    model, images = Activated(kind()).double(), inputs().images
    expected = peers.naswot_layers(model, images, KEEP_SIGN)
    found = proxies.naswot_layers(model, images)
    assert found.value == pytest.approx(expected, rel=ROUNDING)
    together = proxies.compute(["naswot", "naswot_layers"], model, Inputs(noise=images), seed=0)
    assert together["naswot_layers"] == found
    assert together["naswot"] == proxies.naswot(model, images)  # the ReLU alone


def test_naswot_of_layers_is_finite_where_images_switch_alike() -> None:
    model, images = Activated(nn.GELU()).double(), inputs().images
    images[3] = images[1]
    expected = peers.naswot_layers(model, images, KEEP_SIGN)
    assert proxies.naswot_layers(model, images).value == pytest.approx(expected, rel=ROUNDING)


def test_naswot_of_layers_needs_an_activation() -> None:
    found = proxies.naswot_layers(Activated(nn.Sigmoid()).double(), inputs().images)
    assert math.isfinite(found.value)  # of the ReLU
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)).double()
    found = proxies.naswot_layers(model, inputs().images)
    assert math.isnan(found.value)
    assert "no activation function" in (found.reason or "")


def test_regularised_swap_ranks_as_the_papers_product_does() -> None:
    model, noise = network("residual"), inputs().noise
    thousands = sum(p.numel() for p in model.parameters()) / 1e3
    product = proxies.swap(model, noise).value * math.exp(-((thousands - 5) ** 2) / 40)
    found = proxies.swap_regularised(model, Inputs(noise=noise, size=(5, 40)))
    assert found.value == pytest.approx(math.log(product), rel=ROUNDING)
    without = proxies.swap_regularised(model, noise)
    assert math.isnan(without.value)
    assert "size=(mu, sigma) is not given" in (without.reason or "")
    with pytest.raises(ValueError, match=r"size=\(1, 0\): expected \(mu, sigma\) with sigma above"):
        Inputs(noise=noise, size=(1, 0))


@each_convolutional
def test_meco(name: str) -> None:
    noise = inputs().noise
    expected = peers.meco(network(name).train(), noise)
    assert expected > 0
    assert proxies.meco(network(name), noise).value == pytest.approx(expected, rel=1e-6)


def test_smallest_eigenvalues_of_correlations() -> None:
    source = torch.Generator().manual_seed(0)
    channels = torch.randn(6, 50, generator=source, dtype=torch.float64)
    expected = np.linalg.eigvalsh(np.corrcoef(channels.numpy())).min()
    assert smallest_eigenvalue(channels) == pytest.approx(expected, rel=ROUNDING)
    assert smallest_eigenvalue(channels[:, :6]) == 0  # singular: 5 degrees of freedom
    channels[2] = 1.5
    assert smallest_eigenvalue(channels) == 0


def test_near_adds_up_the_effective_ranks_of_what_layers_return() -> None:
    """With as many rows as columns everywhere, nothing is drawn."""
    torch.manual_seed(0)
    count = 6
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, count), nn.GELU(), nn.Linear(count, count))
    noise = inputs(count).noise
    outs = [noise.flatten(1)]
    for layer in model.double()[1:]:
        outs.append(layer(outs[-1]))
    expected = sum(peers.effective_rank(out.detach().numpy()) for out in outs[1:])
    assert proxies.near(model, noise).value == pytest.approx(expected, rel=ROUNDING)


RELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp in place": lambda x: x.clamp_(min=0),
    "maximum": lambda x: torch.maximum(x, x.new_zeros(())),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
}


class Written(nn.Module):
    """A ReLU that is written as a function."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x)


@pytest.mark.parametrize("name", RELUS)
def test_near_sees_a_relu_however_it_is_written(name: str) -> None:
    noise = inputs().noise

    def value(relu: nn.Module) -> float:
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(192, 5), relu, nn.Linear(5, 5)]
        return proxies.near(nn.Sequential(*layers).double(), noise).value

    assert value(Written(RELUS[name])) == value(nn.ReLU())


def test_near_is_that_of_square_matrices() -> None:
    model, noise = network("without normalisation"), inputs().noise
    value = proxies.near(model, noise).value
    calls = 1 + 3 * 4 + 2  # stem; two convolutions and two ReLUs a block; ReLU and head
    assert calls < value < 6 * calls  # ranks from 1 to the 6 channels
    assert proxies.near(model, noise) == proxies.near(model, noise)


def test_effective_ranks() -> None:
    assert effective_rank(torch.eye(4)) == pytest.approx(4)
    assert effective_rank(torch.ones(4, 4)) == pytest.approx(1)
    assert effective_rank(torch.zeros(4, 4)) == 0


def test_dss() -> None:
    model = network("transformer").eval()
    attention = {
        f"blocks.{k}.self_attn.{name}"
        for k in range(2)
        for name in ("in_proj_weight", "out_proj.weight")
    }
    expected = peers.dss(network("transformer").eval(), (3, 8, 8), attention)
    assert proxies.dss(model, inputs().noise).value == pytest.approx(expected, rel=ROUNDING)
    without = proxies.dss(network("residual"), inputs().noise)
    assert math.isnan(without.value)
    assert "no module of the model is an attention" in (without.reason or "")


def test_attention_over_channels_is_none_of_tokens() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.fc(x.mean((2, 3), keepdim=True)).sigmoid()

    model = nn.Sequential(Attention(), nn.Flatten(), nn.Linear(192, CLASSES)).double()
    assert math.isnan(proxies.dss(model, inputs().noise).value)


def test_one_image_may_be_too_few_for_batch_norm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4))
    found = proxies.meco(model.double(), inputs())
    assert math.isnan(found.value)
    assert "one pixel of the single image" in (found.reason or "")


# ---- token mixing ------------------------------------------------------------------------------


class Mixer(nn.Module):
    """Adds the mean over tokens, with a weight, to each token."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.weight * tokens.mean(1, keepdim=True)


class Tokens(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images.flatten(2).transpose(1, 2))  # [B, 64, 4]

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3, 4)


class Mean(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)


def mixers(*weights: float) -> Classifier:
    return Classifier(Tokens(), [Mixer(weight) for weight in weights], Mean()).double()


def test_token_mixing_is_the_entropy_of_where_a_token_comes_from() -> None:
    weight, tokens = 3.0, 64
    own, other = (1 + weight / tokens) ** 2, (weight / tokens) ** 2
    shares = np.array([own, *[other] * (tokens - 1)]) / (own + other * (tokens - 1))
    expected = -(shares * np.log(shares)).sum()
    features = ("stem", "blocks.0", "blocks.1")
    found = proxies.token_mixing(mixers(weight, weight), inputs(), features=features)
    assert found.value == pytest.approx(2 * expected, rel=ROUNDING)
    alone = proxies.token_mixing(mixers(0.0, 0.0), inputs(), features=features)
    assert alone.value == pytest.approx(0, abs=ROUNDING)


@each_network
def test_token_mixing_of_any_network(name: str) -> None:
    value = proxies.token_mixing(network(name), inputs()).value
    assert 0 < value < 3 * math.log(64)


# ---- the Fisher matrix of weight matrices --------------------------------------------------------


def spectra(model: nn.Module, count: int) -> list[np.ndarray]:
    """The diagonal blocks of the whole Fisher matrix."""
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1}
    chosen = {
        name: [int(i) for i in np.linspace(0, size - 1, min(count, size))]
        for name, size in sizes.items()
    }
    names = [(name, index) for name, indices in chosen.items() for index in indices]
    matrix = peers.fisher_matrix(model, inputs().noise, names)
    blocks, start = [], 0
    for indices in chosen.values():
        blocks.append(matrix[start : start + len(indices), start : start + len(indices)])
        start += len(indices)
    return [matrix, *blocks]


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_scores_of_layers(name: str) -> None:
    _, *blocks = spectra(network(name).eval(), 16)
    dimension = sum(np.trace(f) ** 2 / (f**2).sum() for f in blocks)
    volumes = [np.linalg.eigvalsh(f) for f in blocks]
    volume = np.mean([np.log(v.clip(0) / v.mean() + 1e-6).mean() for v in volumes])
    names = ["fisher_dimension", "fisher_volume"]
    found = proxies.compute(names, network(name), inputs(), seed=0)
    assert found["fisher_dimension"].value == pytest.approx(dimension, rel=1e-8)
    assert found["fisher_volume"].value == pytest.approx(volume, rel=1e-6)


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_scores_of_weight_matrices(name: str) -> None:
    matrix, *_ = spectra(network(name).eval(), 1)
    values = np.linalg.eigvalsh(matrix).clip(0)
    shares = values / values.sum()
    entropy = -sum(p * math.log(p) for p in shares if p > 0)
    deciles = np.quantile(values, np.arange(1, 10) / 10)
    deciles = deciles / deciles.sum()
    names = ["vkdnw_normalised", "vkdnw_matrices"]
    found = proxies.compute(names, network(name), inputs(), seed=0)
    expected = entropy / math.log(len(values))
    assert found["vkdnw_normalised"].value == pytest.approx(expected, rel=1e-8)
    expected = -sum(q * math.log(q) for q in deciles if q > 0)
    assert found["vkdnw_matrices"].value == pytest.approx(expected, rel=1e-6)


def test_statistics_of_one_batch() -> None:
    read = inputs()
    model = network("residual")
    by_hand = network("residual").train()
    for module in by_hand.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, of which there is one
    by_hand(read.noise)
    expected = proxies.vkdnw(by_hand, read.noise).value
    found = proxies.vkdnw_calibrated(model, read.noise)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found != proxies.vkdnw(model, read.noise)
    assert all(
        module.momentum == 0.1 for module in model.modules() if isinstance(module, nn.BatchNorm2d)
    )
