"""Models without a per-sample Jacobian are refused by name, with the remedy; a failure is no
score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vkdnw
from tests.library.cases.case import Forward, images, linears, vectors
from tests.library.cases.networks import residual_network


@dataclass(frozen=True)
class Refusal:
    """A call that must fail, and a part of its message."""

    model: Callable[[], nn.Module]
    batch: Any
    says: tuple[str, ...]  # parts of the message: the thing, and the remedy
    error: type[Exception] = ValueError
    options: dict[str, Any] = field(default_factory=dict)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).eval()


def model(run: Callable[..., Any], **parts: nn.Module) -> Callable[[], nn.Module]:
    """A model of three linear layers (and other parts) in eval mode."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        return Forward(run, **linears(first=(4, 4), second=(4, 4), fc=(4, 3))(), **parts).eval()

    return build


def spoiled(value: float, name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network = residual_network().eval()
        tensor = {**dict(network.named_parameters()), **dict(network.named_buffers())}[name]
        with torch.no_grad():
            tensor.view(-1)[1] = value
        return network

    return build


def in_train_mode(layer: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 3)).train()


def with_nan() -> Tensor:
    batch = vectors()
    batch[2, 1] = torch.nan
    return batch


def across_the_batch(m: Any, x: Tensor) -> Tensor:
    h = m.first(x)
    return m.fc((h @ h.T).softmax(1) @ h)


def centred(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.first(x) - m.first(x).mean(0))


def centred_out_of_sight(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x)) - x.detach().mean(0))


def steeper_for_some(m: Any, x: Tensor) -> Tensor:
    return m.fc(torch.tanh(m.first(x) * (2 if x.max() > 6.0 else 1)))


def tokens_averaged(m: Any, tokens: Tensor) -> Tensor:
    return m.fc(m.embedding(tokens).mean((0, 1)).expand(len(tokens), -1) * tokens[:, :1])


def functional_dropout(m: Any, x: Tensor) -> Tensor:
    return m.fc(F.dropout(torch.tanh(m.first(x)), 0.5, training=True))


def batch_norm_by_hand(m: Any, x: Tensor) -> Tensor:
    return m.fc(F.batch_norm(m.first(x), None, None, training=True))


def overflowing(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.first(x) * 1e30) * 1e30


def last_sample_overflows(m: Any, x: Tensor) -> Tensor:
    return m.fc(m.first(x)) / (x[:, :1] != 7.0)


def seven() -> Tensor:
    batch = vectors()
    batch[4, 0] = 7.0
    return batch


MODELS = {
    "batch norm in train mode": Refusal(
        lambda: residual_network().train(),
        images(),
        ("1 (BatchNorm2d)", "train mode", "samples of a batch mix", "model.eval()"),
    ),
    "one batch norm in train mode": Refusal(
        lambda: (lambda m: (m[4].bn1.train(), m)[1])(residual_network().eval()),
        images(),
        ("4.bn1", "train mode", "model.eval()"),
    ),
    "batch norm without statistics": Refusal(
        lambda: nn.Sequential(
            nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)
        ).eval(),
        vectors(),
        ("1 (BatchNorm1d)", "no running statistics", "track_running_stats=True"),
    ),
    "dropout in train mode": Refusal(
        in_train_mode(nn.Dropout(0.3)), vectors(), ("1 (Dropout)", "dropout 0.3", "model.eval()")
    ),
    "dropout of a whole channel": Refusal(
        in_train_mode(nn.AlphaDropout(0.1)), vectors(), ("1 (AlphaDropout)", "model.eval()")
    ),
    "dropout within a recurrent layer": Refusal(
        lambda: nn.LSTM(4, 4, 2, dropout=0.2).train(), vectors(), ("LSTM", "dropout 0.2")
    ),
    "dropout as a function": Refusal(
        model(functional_dropout), vectors(), ("draws random numbers", "random operations")
    ),
    "attention across the batch": Refusal(
        model(across_the_batch), vectors(), ("samples mix", "attention across the batch")
    ),
    "batch statistics": Refusal(model(centred), vectors(), ("samples mix", "batch statistics")),
    "batch statistics of two samples": Refusal(
        model(centred), vectors()[:2], ("samples mix", "batch statistics")
    ),
    "batch statistics as a function": Refusal(
        model(batch_norm_by_hand), vectors(), ("samples mix",)
    ),
    "detached batch statistics": Refusal(
        model(centred_out_of_sight), vectors(), ("other samples", "batch statistics")
    ),
    "a path that one sample decides for all": Refusal(
        model(steeper_for_some), seven(), ("samples mix", "other samples", "batch statistics")
    ),
    "tokens of other samples": Refusal(
        model(tokens_averaged, embedding=nn.Embedding(9, 4)),
        torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]]),
        ("other samples",),
    ),
    "a weight that is NaN": Refusal(
        spoiled(torch.nan, "4.conv1.weight"),
        images(),
        ("parameter 4.conv1.weight", "nan", "flat index 1", "initialise"),
    ),
    "a weight that is infinite": Refusal(
        spoiled(-torch.inf, "8.bias"), images(), ("parameter 8.bias", "-inf")
    ),
    "statistics that are NaN": Refusal(
        spoiled(torch.nan, "1.running_mean"), images(), ("buffer 1.running_mean", "NaN")
    ),
    "logits that overflow": Refusal(
        model(overflowing), vectors(), ("logits hold", "overflows", "initialisation")
    ),
    "logits that overflow for one sample": Refusal(
        model(last_sample_overflows), seven(), ("logits hold", "initialisation")
    ),
    "a lazy layer": Refusal(
        lambda: nn.Sequential(nn.LazyLinear(3)), vectors(), ("0.weight is lazy", "run the model")
    ),
    "no parameters": Refusal(nn.Identity, vectors(), ("Identity has no parameters",)),
    "not a module": Refusal(
        lambda: torch.tanh, vectors(), ("model is a", "torch.nn.Module"), TypeError
    ),
    "complex weights": Refusal(
        model(
            lambda m, x: m.fc(x) * m.spin.phase.real,
            spin=nn.ParameterDict({"phase": nn.Parameter(torch.ones(3, dtype=torch.complex64))}),
        ),
        vectors(),
        ("parameter spin.phase is complex", "real and imaginary"),
    ),
}

BATCHES = {
    "an empty batch": Refusal(mlp, torch.empty(0, 4), ("batch is empty", "at least one")),
    "an input that is NaN": Refusal(mlp, with_nan(), ("batch holds nan", "clean")),
    "an argument that is NaN": Refusal(mlp, {"input": with_nan()}, ("batch['input'] holds nan",)),
    "no tensor": Refusal(mlp, (1, 2), ("no tensor with a sample axis",)),
    "a number": Refusal(mlp, 3.0, ("batch is a float", "tuple or dict"), TypeError),
    "sizes that differ": Refusal(
        mlp, (vectors(), vectors()[:2]), ("disagree", "batch[0]", "5", "2")
    ),
    "tensors within a list": Refusal(
        mlp, (vectors(), [vectors()]), ("batch[1]", "argument of its own"), TypeError
    ),
    "tensors within a dict": Refusal(
        mlp, {"x": {"y": vectors()}}, ("batch['x']", "argument of its own"), TypeError
    ),
    "another dtype": Refusal(
        mlp, vectors().double(), ("batch is torch.float64", "torch.float32", "dtype=")
    ),
    "another device": Refusal(
        mlp, torch.empty(5, 4, device="meta"), ("batch is on meta", "model on cpu", "move")
    ),
}

LOGITS = {
    "one class": Refusal(
        lambda: nn.Linear(4, 1), vectors(), ("[2, 1]", "at least 2 classes", "(0, z)")
    ),
    "decisions": Refusal(
        model(lambda m, x: m.fc(x).argmax(1)), vectors(), ("torch.int64", "before any argmax")
    ),
    "a map of logits": Refusal(
        model(lambda m, x: m.fc(x[:, None])), vectors(), ("[2, 1, 3]", "output=")
    ),
    "a vector": Refusal(model(lambda m, x: m.fc(x)[:, 0]), vectors(), ("[2]", "output=")),
    "a dict": Refusal(
        model(lambda m, x: {"scores": m.fc(x)}), vectors(), ("dict with keys scores", "output=")
    ),
    "a tuple": Refusal(model(lambda m, x: (x, m.fc(x))), vectors(), ("tuple of 2", "output=")),
    "a missing key": Refusal(
        model(lambda m, x: {"scores": m.fc(x)}),
        vectors(),
        ("output='logits'", "keys scores"),
        options={"output": "logits"},
    ),
    "a missing position": Refusal(
        model(lambda m, x: (x, m.fc(x))),
        vectors(),
        ("output=2", "2 values"),
        options={"output": 2},
    ),
    "classes that come and go": Refusal(
        model(lambda m, x: m.fc(x)[:, : 2 + int(x.max() > 6.0)]), seven(), ("number of classes",)
    ),
}

OPTIONS = {
    "convention": Refusal(
        mlp, vectors(), ("convention='exact'", "'released'"), options={"convention": "exact"}
    ),
    "smoothing": Refusal(mlp, vectors(), ("smoothing=1.5", "[0, 1]"), options={"smoothing": 1.5}),
    "smoothing NaN": Refusal(
        mlp, vectors(), ("smoothing=nan", "[0, 1]"), options={"smoothing": float("nan")}
    ),
    "weights": Refusal(
        mlp, vectors(), ("weights='all'", ".every()"), TypeError, {"weights": "all"}
    ),
    "a parameter": Refusal(
        mlp, vectors(), ("'3.weight'", "no parameter"), options={"weights": {"3.weight": [0]}}
    ),
    "an index": Refusal(mlp, vectors(), ("'0.bias'", "0..3"), options={"weights": {"0.bias": [4]}}),
    "an index twice": Refusal(
        mlp, vectors(), ("'0.bias'", "twice"), options={"weights": {"0.bias": [1, 1]}}
    ),
    "no scalar": Refusal(mlp, vectors(), ("no scalar",), options={"weights": {"0.bias": []}}),
    "too many at random": Refusal(
        mlp,
        vectors(),
        ("count=1000", "35 scalars"),
        options={"weights": vkdnw.weights.random(1000, 0)},
    ),
    "dtype": Refusal(
        mlp, vectors(), ("dtype=torch.int32", "torch.float32"), options={"dtype": torch.int32}
    ),
    "no memory": Refusal(mlp, vectors(), ("max_memory=0", "positive"), options={"max_memory": 0}),
    "little memory": Refusal(
        mlp, vectors(), ("max_memory=100", "raise it"), MemoryError, {"max_memory": 100}
    ),
}


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(refusal, id=name)
        for cases in (MODELS, BATCHES, LOGITS, OPTIONS)
        for name, refusal in cases.items()
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.filterwarnings("ignore::vkdnw.FallbackWarning")
def test_refused_by_name(refusal: Refusal) -> None:
    network = refusal.model()
    with pytest.raises(refusal.error) as raised:
        vkdnw.score(network, refusal.batch, **refusal.options)
    missing = [part for part in refusal.says if part not in str(raised.value)]
    assert not missing, raised.value


def test_the_jacobian_and_the_matrix_refuse_as_well() -> None:
    network = residual_network().train()
    for call in (vkdnw.jacobian, vkdnw.fisher):
        with pytest.raises(ValueError, match="train mode"):
            call(network, images())


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    with pytest.raises(MemoryError, match=r"35 scalars needs 9800 bytes.*vkdnw.score"):
        vkdnw.fisher(mlp(), vectors(), weights=vkdnw.weights.every(), max_memory=9_000)


def test_derivatives_that_are_not_finite_are_no_score() -> None:
    # The root of zero: finite logits, infinite slope.
    network = model(lambda m, x: m.fc(torch.sqrt(m.first(x).square() * (x > 0))))()
    with pytest.raises(ValueError, match=r"with respect to first\.weight is not finite.*dtype"):
        vkdnw.score(network, vectors())


@pytest.mark.parametrize(
    "choose",
    [
        lambda: vkdnw.weights.first(0),
        lambda: vkdnw.weights.spaced(0),
        lambda: vkdnw.weights.spaced(2, tensors=-1),
        lambda: vkdnw.weights.random(0, seed=1),
    ],
)
def test_choosing_nothing_is_refused(choose: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="at least 1 is needed"):
        choose()


# ---- not refused ------------------------------------------


def test_train_mode_is_fine_without_layers_that_mind() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.Tanh(), nn.Linear(4, 3)).train()
    assert vkdnw.score(network, vectors()).fallback == ()


def test_masks_may_hold_infinity() -> None:
    network = mlp()
    network.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    assert vkdnw.score(network, vectors()).vkdnw > 0


def test_logits_that_are_all_zero_are_a_score() -> None:
    network = mlp()
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    assert vkdnw.score(network, vectors()).eigenvalues.max() > 0
