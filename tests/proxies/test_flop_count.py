"""FLOPs against closed forms, for every way in which torch runs a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.proxies.networks import NETWORKS, network
from vkdnw import proxies
from vkdnw.proxies.flop_count import forward_flops

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

T, D, HEADS, WIDE = 10, 16, 2, 32
"""Tokens, width, heads and hidden width of the sequence models."""

CLASSES = 3
HEAD = D * CLASSES
SQUARE = T * D * D  # of a linear layer on all tokens
ATTENTION = 2 * T * T * D  # the products of queries and keys, and of weights and values
ENCODER_LAYER = 4 * SQUARE + 2 * T * D * WIDE + ATTENTION


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "transformer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolutional_networks_count_as_in_torch(name: str, dtype: torch.dtype) -> None:
    model, images = network(name).to(dtype).eval(), torch.randn(1, 3, 8, 8, dtype=dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    assert forward_flops(model, images) == counter.get_total_flops()


class Mean(nn.Module):
    """A classifier of the mean of a layer's output for the tokens."""

    def __init__(self, body: nn.Module, width: int = D, time_first: bool = False) -> None:
        super().__init__()
        self.body, self.fc, self.time_first = body, nn.Linear(width, CLASSES), time_first

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x.transpose(0, 1) if self.time_first else x)
        tokens = out[0] if isinstance(out, tuple) else out
        logits: Tensor = self.fc(tokens.mean(0 if self.time_first else 1))
        return logits


class SelfAttention(nn.Module):
    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.layer, self.weights = nn.MultiheadAttention(D, HEADS, batch_first=True), weights

    def forward(self, x: Tensor) -> Any:
        return self.layer(x, x, x, need_weights=self.weights)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def heads(x: Tensor) -> Tensor:
    split = x.unflatten(2, (HEADS, -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(split, split, split).transpose(1, 2).flatten(2)


def encoder_layer(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(D, HEADS, WIDE, **options)


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "LSTM": (lambda: Mean(nn.LSTM(D, D, batch_first=True)), 8 * SQUARE),
    "LSTM, time first": (lambda: Mean(nn.LSTM(D, D), time_first=True), 8 * SQUARE),
    "LSTM, two layers": (lambda: Mean(nn.LSTM(D, D, 2, batch_first=True)), 16 * SQUARE),
    "LSTM, projected": (
        lambda: Mean(nn.LSTM(D, WIDE, proj_size=D, batch_first=True)),
        T * (4 * WIDE * 2 * D + WIDE * D),
    ),
    "LSTM, both directions": (
        lambda: Mean(nn.LSTM(D, D // 2, batch_first=True, bidirectional=True)),
        2 * T * 4 * (D // 2) * (D + D // 2),
    ),
    "GRU": (lambda: Mean(nn.GRU(D, D, batch_first=True)), 6 * SQUARE),
    "RNN": (lambda: Mean(nn.RNN(D, D, batch_first=True)), 2 * SQUARE),
    "scaled dot product": (lambda: Mean(Function(heads)), ATTENTION),
    "attention": (lambda: Mean(SelfAttention(weights=False)), 4 * SQUARE + ATTENTION),
    "attention with weights": (lambda: Mean(SelfAttention(weights=True)), 4 * SQUARE + ATTENTION),
    "encoder layer": (lambda: Mean(encoder_layer(batch_first=True)), ENCODER_LAYER),
    "encoder layer, frozen": (
        lambda: Mean(encoder_layer(batch_first=True)).requires_grad_(False),
        ENCODER_LAYER,
    ),
    "encoder, time first": (
        lambda: Mean(
            nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False), time_first=True
        ),
        2 * ENCODER_LAYER,
    ),
    "encoder, gelu, norm first": (
        lambda: Mean(encoder_layer(batch_first=True, norm_first=True, activation="gelu")),
        ENCODER_LAYER,
    ),
    "product with a vector": (
        lambda: Mean(Function(lambda x: x * (x[0] @ x[0, 0])[None, :, None])),
        T * D,
    ),
    "transposed convolution": (
        lambda: Mean(Function(lambda x: F.conv_transpose1d(x.mT, torch.ones(D, D, 2)).mT)),
        2 * SQUARE,
    ),
}


@pytest.mark.parametrize("without", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", MODELS)
def test_sequence_models_have_their_closed_form(name: str, without: type) -> None:
    build, body = MODELS[name]
    with without():
        found = proxies.flops(build(), torch.randn(2, T, D))
    assert found.value == body + HEAD


def test_a_model_that_infers_is_counted() -> None:
    def infers(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return F.linear(x, torch.ones(D, D))

    assert proxies.flops(Mean(Function(infers)), torch.randn(2, T, D)).value == SQUARE + HEAD


def test_a_model_that_fails_is_refused_with_its_error() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(15, 16, 3)).eval()
    with pytest.raises(ValueError, match=r"flops: .*input.* to have 15 channels, but got 16"):
        proxies.flops(model, torch.randn(1, 3, 16, 16))
