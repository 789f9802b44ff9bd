"""score, fisher and jacobian on a GPU against the CPU's, from the network on."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases.networks import pre_activation_network, residual_network
from vkdnw import SmallerChunksWarning
from vkdnw.backward import tape
from vkdnw.score_group import score_group
from vkdnw.search.spaces import nb201

pytestmark = pytest.mark.gpu

ROOM = 2**31  # of the CPU's calls
ARCHITECTURES = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|",
)


def network(architecture: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = nb201.build(architecture, channels=16, cells=1, classes=10)
    vkdnw.initialise(model, "kaiming_normal", seed=0)
    return model.to(dtype).eval()


def images(samples: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 3, 32, 32, generator=generator, dtype=torch.float64).to(dtype)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu().double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float64_agrees_with_the_cpu(architecture: str, device: torch.device) -> None:
    """Convolutions sum in another order: 1e-10 leaves them four digits of float64."""
    model, x = network(architecture, torch.float64), images(4, torch.float64)
    expected = vkdnw.jacobian(model, x, max_memory=ROOM)
    fisher = vkdnw.fisher(model, x, max_memory=ROOM)
    score = vkdnw.score(model, x, max_memory=ROOM)
    model, x = model.to(device), x.to(device)
    assert error(vkdnw.jacobian(model, x), expected) <= 1e-10
    found = vkdnw.fisher(model, x)
    assert found.device.type == device.type
    assert error(found, fisher) <= 1e-10
    assert vkdnw.score(model, x).vkdnw == pytest.approx(score.vkdnw, abs=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_agrees_with_float64(architecture: str, device: torch.device) -> None:
    expected = vkdnw.jacobian(network(architecture).double(), images(4).double(), max_memory=ROOM)
    scored = vkdnw.score(network(architecture).double(), images(4).double(), max_memory=ROOM)
    model, x = network(architecture).to(device), images(4).to(device)
    assert error(vkdnw.jacobian(model, x), expected) <= 5e-4
    found = vkdnw.score(model, x)
    assert error(found.eigenvalues, scored.eigenvalues) <= 5e-4
    assert found.eigenvalues.device.type == "cpu"


@pytest.mark.parametrize("build", [residual_network, pre_activation_network])
def test_every_choice_of_weights(build, device: torch.device) -> None:
    model, x = build(4).double().eval(), images(3, torch.float64)[:, :, :8, :8].contiguous()
    for weights in (vkdnw.weights.every(), vkdnw.weights.spaced(5)):
        expected = vkdnw.jacobian(model, x, weights=weights, max_memory=ROOM)
        found = vkdnw.jacobian(model.to(device), x.to(device), weights=weights)
        assert error(found, expected) <= 1e-10
        model.cpu()


def test_two_runs_give_the_same_bits(device: torch.device) -> None:
    model, x = network(ARCHITECTURES[0]).to(device), images(16).to(device)
    assert torch.equal(vkdnw.score(model, x).eigenvalues, vkdnw.score(model, x).eigenvalues)


def waits(model: nn.Module, x: Tensor) -> int:
    """How often the host waits for the device while a score is computed."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            vkdnw.score(model, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def test_the_host_does_not_wait_layer_by_layer(only_on_gpu: None, device: torch.device) -> None:
    x = images(4).to(device)
    counts = []
    for cells in (1, 3):
        model = nb201.build(ARCHITECTURES[0], channels=16, cells=cells, classes=10)
        vkdnw.initialise(model, "kaiming_normal", seed=0)
        model = model.to(device).eval()
        vkdnw.score(model, x)
        counts.append(waits(model, x))
    assert counts[0] == counts[1]


def test_a_full_device_gives_smaller_chunks(only_on_gpu: None, device: torch.device) -> None:
    model, x = network(ARCHITECTURES[0]).to(device), images(64).to(device)
    vkdnw.score(model, x)  # libraries take their workspaces once
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    expected = vkdnw.score(model, x, max_memory=2**36)
    taken = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved(device) + taken // 2
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total, device)
    try:
        with pytest.warns(SmallerChunksWarning, match="ran out of memory with 64 samples"):
            found = vkdnw.score(model, x, max_memory=2**36)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert error(found.eigenvalues, expected.eigenvalues) <= 5e-4


def test_a_network_that_overflows_is_an_error(device: torch.device) -> None:
    model, x = network(ARCHITECTURES[1]).to(device), images(4).to(device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e6)
    with pytest.raises(ValueError, match=r"finite|holds (inf|nan)|overflow"):
        vkdnw.score(model, x)


def test_networks_together_have_the_bits_of_each_alone(device: torch.device) -> None:
    """One launch for the tapes of all, and one for the spectra of one size."""
    models = [network(each).to(device) for each in (*ARCHITECTURES, *ARCHITECTURES)]
    x = images(16).to(device)
    assert score_group(models, x) == [vkdnw.score(model, x) for model in models]


def test_networks_together_are_one_launch(
    only_on_gpu: None, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU cuts their batch in pieces; what cannot be joined is scored alone, and says nothing."""
    models = [network(each).to(device) for each in (*ARCHITECTURES, *ARCHITECTURES)]
    runs: list[int] = []
    run = tape.backpropagate_

    def counting(*arguments: Any) -> Tensor:
        runs.append(1)
        return run(*arguments)

    monkeypatch.setattr(tape, "backpropagate_", counting)
    score_group(models, images(16).to(device))
    assert len(runs) == 1
