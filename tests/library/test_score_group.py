"""Networks scored together have the scores, and the errors, that each has alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from vkdnw import score_group as group_module
from vkdnw.backward import tape
from vkdnw.score_group import score_group
from vkdnw.search.spaces import nb201

CONV = "nor_conv_3x3"
DENSE = f"|{CONV}~0|+|{CONV}~0|{CONV}~1|+|{CONV}~0|{CONV}~1|{CONV}~2|"
SKIPS = f"|skip_connect~0|+|{CONV}~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
POOLS = f"|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|{CONV}~0|avg_pool_3x3~1|skip_connect~2|"


def network(architecture: str, seed: int = 0) -> nn.Module:
    model = nb201.build(architecture, channels=8, cells=1, classes=4)
    return vkdnw.initialise(model, seed=seed).eval()


def images(samples: int = 8) -> Tensor:
    return torch.randn(samples, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Counted:
    """How many times two of the ops ran."""

    tapes = 0
    spectra = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counts = Counted()
    run, spectrum = tape.backpropagate_, group_module.low_rank_spectrum

    def counting_run(*arguments: object) -> Tensor:
        counts.tapes += 1
        return run(*arguments)  # type: ignore[arg-type]

    def counting_spectrum(factor: Tensor) -> Tensor:
        counts.spectra += 1
        return spectrum(factor)

    monkeypatch.setattr(tape, "backpropagate_", counting_run)
    monkeypatch.setattr(group_module, "low_rank_spectrum", counting_spectrum)
    return counts


@pytest.fixture(autouse=True)
def no_warnings_of_rank() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vkdnw.LowRankWarning)
        yield


def alone(model: nn.Module, x: Tensor) -> vkdnw.Score:
    return vkdnw.score(model, x)


def test_one_launch_and_the_same_bits(counted: Counted) -> None:
    models = [network(each, seed) for seed, each in enumerate((DENSE, SKIPS, POOLS, DENSE))]
    expected = [alone(model, images()) for model in models]
    counted.tapes = 0
    assert score_group(models, images()) == expected
    assert counted.tapes == 1
    assert counted.spectra == len({len(score.eigenvalues) for score in expected})


def test_models_are_left_as_they_were() -> None:
    models = [network(DENSE), network(POOLS)]
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    state = torch.get_rng_state()
    score_group(models, images())
    assert torch.equal(torch.get_rng_state(), state)
    for model, kept in zip(models, before, strict=True):
        assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
        assert not any(parameter.grad is not None for parameter in model.parameters())


def test_what_does_not_fit_together_goes_in_several_launches(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [network(DENSE, seed) for seed in range(5)]
    expected = [alone(model, images()) for model in models]
    monkeypatch.setattr(group_module, "_have_room", lambda members: len(members) < 2)
    counted.tapes = 0
    assert score_group(models, images()) == expected
    assert counted.tapes == 3


def test_a_group_keeps_to_max_memory(counted: Counted) -> None:
    """The feature maps of two networks fit, those of five do not."""
    models, room = [network(DENSE, seed) for seed in range(5)], 1_250_000
    expected = [vkdnw.score(model, images(), max_memory=room) for model in models]
    counted.tapes = 0
    assert score_group(models, images(), max_memory=room) == expected
    assert counted.tapes == 3


class Overflowing(nn.Module):
    """Finite weights, and no finite logits."""

    static_graph = True

    def __init__(self) -> None:
        super().__init__()
        self.network = network(DENSE)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x) * 1e38 * 1e38
        return logits


class DataDependent(nn.Module):
    """Declares a static graph, and has none."""

    static_graph = True

    def __init__(self) -> None:
        super().__init__()
        self.network = network(SKIPS)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and x.shape[0] == 2:
            x = x + 0.1
        logits: Tensor = self.network(x)
        return logits


class Undeclared(nn.Module):
    """What only a probe can tell the graph of."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network(SKIPS)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def with_a_bad_weight() -> nn.Module:
    model = network(POOLS)
    with torch.no_grad():
        next(model.parameters())[0] = torch.nan
    return model


@pytest.mark.parametrize(
    "other",
    [with_a_bad_weight, Overflowing, DataDependent, nn.ReLU],
)
def test_one_that_fails_does_not_touch_the_others(other, counted: Counted) -> None:
    models = [network(DENSE), other(), network(POOLS)]
    with pytest.raises(Exception) as failure:  # noqa: PT011 - of each its own
        alone(models[1], images())
    first, second, third = score_group(models, images())
    assert (type(second), str(second)) == (failure.type, str(failure.value))
    assert [first, third] == [alone(models[0], images()), alone(models[2], images())]


def test_a_fisher_matrix_of_zeros_fails_alone(counted: Counted) -> None:
    blind = network(DENSE)
    with torch.no_grad():
        blind.get_parameter("head.fc.weight").zero_()
    weights = {"stem.conv.weight": [0, 1]}
    models = [network(DENSE), blind]
    expected = vkdnw.score(models[0], images(), weights=weights)
    counted.tapes = 0
    first, second = score_group(models, images(), weights=weights)
    assert first == expected
    assert isinstance(second, vkdnw.ZeroFisherError)
    assert counted.tapes == 1


@pytest.mark.parametrize("other", [Undeclared, lambda: network(DENSE).double()])
def test_one_that_cannot_be_joined_is_scored_alone(other, counted: Counted) -> None:
    models = [network(DENSE), other().eval(), network(POOLS)]
    options = {"dtype": torch.float64} if next(models[1].parameters()).dtype.itemsize == 8 else {}
    expected = [vkdnw.score(model, images(), **options) for model in models]
    assert score_group(models, images(), **options) == expected


def test_a_matrix_that_no_spectrum_is_found_of_fails_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = [network(DENSE, seed) for seed in range(3)]
    expected = [alone(model, images()) for model in models]

    def refuse(factor: Tensor) -> Tensor:
        raise ValueError("factor has a NaN or an infinity in matrix 1 of the batch")

    monkeypatch.setattr(group_module, "low_rank_spectrum", refuse)
    assert score_group(models, images()) == expected


def test_an_empty_group_and_one_of_one() -> None:
    assert score_group([], images()) == []
    assert score_group([network(DENSE)], images()) == [alone(network(DENSE), images())]


def test_options_are_those_of_score() -> None:
    models = [network(DENSE), network(SKIPS)]
    options = {"smoothing": 0.2, "convention": "released", "weights": vkdnw.weights.spaced(3)}
    expected = [vkdnw.score(model, images(), **options) for model in models]
    assert score_group(models, images(), **options) == expected
    with pytest.raises(TypeError, match="smoothness"):
        score_group(models, images(), smoothness=0.2)
