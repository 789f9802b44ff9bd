"""Which weights are summed over, and normalisation that is left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

from vkdnw import proxies
from vkdnw.proxies.weight_layers import multiplying_weights

BATCH = 6


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 3)).double()


COMPUTED: dict[str, Callable[[nn.Module], object]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm by a hook": weight_norm,
    "spectral_norm by a hook": spectral_norm,
    "pruned": lambda module: prune.random_unstructured(module, "weight", 0.5),
}


@pytest.mark.parametrize("name", ["snip", "grad_norm", "synflow", "zico", "gradsign", "grasp"])
@pytest.mark.parametrize("way", COMPUTED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_layer_that_computes_its_weight_is_refused_by_name(way: str, name: str) -> None:
    model = network()
    COMPUTED[way](model[0])
    images, labels = torch.randn(BATCH, 3, 12, 12).double(), torch.arange(BATCH) % 3
    read = proxies.Inputs(images, labels, None, None, images, labels, images.flip(0), labels)
    with pytest.raises(ValueError, match=r"0 \(.*Conv2d\) computes its weight on each call"):
        proxies.compute([name], model, read, seed=0)


def test_a_bias_that_is_computed_does_not_matter() -> None:
    model = network()
    nn.utils.parametrize.register_parametrization(model[0], "bias", nn.Softplus())
    assert list(multiplying_weights(model)) == ["0.weight", "3.weight"]


def test_weights_of_every_layer_that_multiplies() -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(3, 4, 3),
            "linear": nn.Linear(4, 4),
            "bilinear": nn.Bilinear(2, 2, 3),
            "attention": nn.MultiheadAttention(4, 2),
            "others": nn.MultiheadAttention(4, 2, kdim=2, vdim=3),
            "lstm": nn.LSTM(4, 4),
            "cell": nn.GRUCell(4, 4),
            "norm": nn.BatchNorm1d(4),
            "embedding": nn.Embedding(3, 4),
        }
    )
    assert list(multiplying_weights(model)) == [
        "conv.weight",
        "linear.weight",
        "bilinear.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "others.q_proj_weight",
        "others.k_proj_weight",
        "others.v_proj_weight",
        "others.out_proj.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "cell.weight_ih",
        "cell.weight_hh",
    ]


class NormAct(nn.BatchNorm2d):
    """Normalises and applies an activation, by the layer it extends."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return F.silu(super().forward(input))


class NormActByFunction(nn.BatchNorm2d):
    """The same by torch's function."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        normalised = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, self.training
        )
        return F.silu(normalised)


class Standardised(nn.BatchNorm2d):
    """Normalises by operations of its own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return F.silu(input - input.mean((0, 2, 3), keepdim=True))


def classifier(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(256, 3)
    )


@pytest.mark.parametrize("norm", [NormAct, NormActByFunction])
def test_synflow_keeps_the_activation_of_a_norm(norm: Callable[[int], nn.Module]) -> None:
    ones = torch.ones(1, 3, 12, 12)
    expected = proxies.synflow(classifier(nn.SiLU()), ones).value
    assert proxies.synflow(classifier(norm(4)), ones).value == pytest.approx(expected, rel=1e-12)


class Functional(nn.Module):
    """Calls torch's function from a module that is no normalisation layer."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(F.group_norm(x, 2))


def test_synflow_leaves_out_normalisation_whoever_calls_it() -> None:
    ones = torch.ones(1, 3, 12, 12)
    expected = proxies.synflow(classifier(nn.SiLU()), ones).value
    replaced = NormAct(4)
    replaced.forward = NormAct(4).forward  # type: ignore[method-assign]
    for norm in (Functional(), replaced):
        assert proxies.synflow(classifier(norm), ones).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_synflow_refuses_a_scripted_norm() -> None:
    scripted = torch.jit.script(nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match=r"1 \(BatchNorm2d\) is scripted"):
        proxies.synflow(classifier(scripted), torch.ones(1, 3, 12, 12))


class Checkpointed(nn.Module):
    """Runs a block again in the backward pass."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        returned: Tensor = checkpoint(self.block, x, use_reentrant=False)
        return returned


def test_synflow_of_a_checkpoint() -> None:
    block, ones = nn.Sequential(nn.Conv2d(4, 4, 1), nn.SiLU()), torch.ones(1, 3, 12, 12)
    expected = proxies.synflow(classifier(block), ones)
    assert proxies.synflow(classifier(Checkpointed(block)), ones) == expected


def test_synflow_refuses_a_norm_that_it_cannot_leave_out() -> None:
    with pytest.raises(ValueError, match=r"1 \(Standardised\) normalises where it is not seen"):
        proxies.synflow(classifier(Standardised(4)), torch.ones(1, 3, 12, 12))


class Zen(nn.Module):
    """A BatchNorm whose input is passed by position or by name."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(400, 3)
        self.named = named

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        normalised = self.norm(input=maps) if self.named else self.norm(maps)
        logits: Tensor = self.fc(F.relu(normalised).flatten(1))
        return logits


def test_zen_reads_a_norm_by_name() -> None:
    noise = torch.randn(BATCH, 3, 12, 12)
    assert proxies.zen(Zen(named=True), noise) == proxies.zen(Zen(named=False), noise)


class InPlace(nn.Module):
    """Overwrites the last map, or does not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(400, 3)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(F.relu(self.norm(self.conv(x)), self.in_place).flatten(1))
        return logits


@pytest.mark.parametrize("convention", ["default", "released"])
def test_zen_reads_maps_before_they_are_overwritten(convention: proxies.ProxyConvention) -> None:
    noise = torch.randn(BATCH, 3, 12, 12)
    found, expected = (
        proxies.zen(InPlace(in_place), noise, convention=convention) for in_place in (True, False)
    )
    assert found == expected


class TimeFirst(nn.Module):
    """A layer whose output is ``[B, T, D]`` or ``[T, B, D]``."""

    def __init__(self, time_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.fc, self.time_first = nn.Linear(3, 8), nn.Linear(8, 3), time_first

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute(*((2, 0, 1) if self.time_first else (0, 2, 1)))
        logits: Tensor = self.fc(self.embed(tokens).mean(0 if self.time_first else 1))
        return logits


def test_zen_is_a_mean_over_images_whatever_the_first_axis() -> None:
    noise = torch.randn(BATCH, 3, 5, 5).double()
    values = [proxies.zen(TimeFirst(first).double(), noise).value for first in (False, True)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
