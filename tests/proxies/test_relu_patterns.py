"""ReLU patterns have a row for each image, whatever the axes and however ReLU is written."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vkdnw import proxies
from vkdnw.proxies import Value

BATCH, CLASSES, WIDTH = 5, 4, 9
Mapping = Callable[[Tensor], Tensor]


def images(count: int = BATCH) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, 8, 8, generator=source, dtype=torch.float64)


class Tokens(nn.Module):
    """ReLU on 64 tokens of each image, in some layout that is undone behind it."""

    def __init__(self, relu: Mapping) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.head = nn.Linear(3, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.flatten(2).transpose(1, 2))  # [B, 64, D]
        logits: Tensor = self.head(self.relu(tokens).mean(1))
        return logits


def patterns(x: Tensor) -> np.ndarray:
    """``[B, units]``: the active units of the ReLU."""
    with torch.no_grad():
        tokens = Tokens(F.relu).double().embed(x.flatten(2).transpose(1, 2))
    return (tokens > 0).double().flatten(1).numpy()


def naswot(x: Tensor) -> float:
    on = patterns(x)
    return float(np.linalg.slogdet(on @ on.T + (1 - on) @ (1 - on).T)[1])


def by_windows(x: Tensor) -> Tensor:
    """``[B 16, 4, D]``: the windows of an image behind each other."""
    return F.relu(x.reshape(-1, 4, WIDTH)).reshape(x.shape)


def by_positions(x: Tensor) -> Tensor:
    """``[16 B, 4, D]``: the images of a window behind each other."""
    moved = x.unflatten(1, (16, 4)).transpose(0, 1)
    return F.relu(moved.flatten(0, 1)).view(moved.shape).transpose(0, 1).reshape(x.shape)


def with_a_table(x: Tensor) -> Tensor:
    """A ReLU of a table of positions, which reads no image."""
    return F.relu(x) + F.relu(torch.linspace(-1, 1, WIDTH, dtype=x.dtype).expand(BATCH, -1)).sum()


LAYOUTS: dict[str, Mapping] = {
    "images first": F.relu,
    "time first": lambda x: F.relu(x.transpose(0, 1)).transpose(0, 1),
    "channels first": lambda x: F.relu(x.permute(2, 0, 1)).permute(1, 2, 0),
    "windows": by_windows,
    "positions": by_positions,
    "a table beside": with_a_table,
}

WRITTEN: dict[str, Mapping] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6(),
    "bounded": nn.Hardtanh(0.0, 1.0),
    "function": F.relu,
    "function in place": F.relu_,
    "method": Tensor.relu,
    "clamp": lambda x: x.clamp(min=0),
    "clamp from both sides": lambda x: torch.clamp(x, 0, 4),
    "clamp_min": lambda x: x.clamp_min(0.0),
    "clamp in place": lambda x: x.clone().clamp_(min=0),
    "clamp with a tensor": lambda x: torch.clamp(x, min=torch.zeros((), dtype=x.dtype)),
    "threshold": nn.Threshold(0.0, 0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)),
    "maximum from the left": lambda x: torch.max(torch.zeros_like(x), x),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "scripted": torch.jit.script(nn.Sequential(nn.ReLU())),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.mark.parametrize("relu", [*LAYOUTS.values(), *WRITTEN.values()], ids=[*LAYOUTS, *WRITTEN])
@pytest.mark.parametrize("count", [2, BATCH])
def test_each_image_has_a_row(relu: Mapping, count: int) -> None:
    model, read = Tokens(relu).double(), images(count)
    assert proxies.naswot(model, read).value == pytest.approx(naswot(read), rel=1e-9)
    assert proxies.linear_region(model, read).value == len(np.unique(patterns(read), axis=0))


def test_images_that_switch_alike_are_in_one_region() -> None:
    read = images()
    read[3] = read[1]
    model = Tokens(F.relu).double()
    assert proxies.linear_region(model, read).value == BATCH - 1
    found = proxies.naswot(model, read)
    assert found.value == -math.inf
    assert "singular" in (found.reason or "")


OTHERS: dict[str, Mapping] = {
    "GELU": F.gelu,
    "hardtanh": nn.Hardtanh(),
    "leaky": F.leaky_relu,
    "clamp at one": lambda x: x.clamp(min=1),
    "maximum of two maps": lambda x: torch.maximum(x, x.roll(1, 0)),
    "a table only": lambda x: x + F.relu(torch.ones(64, WIDTH, dtype=x.dtype)),
}


@pytest.mark.parametrize("activation", OTHERS.values(), ids=OTHERS)
def test_without_relus_that_read_images_there_is_no_value(activation: Mapping) -> None:
    for proxy in (proxies.naswot, proxies.linear_region):
        value: Value = proxy(Tokens(activation).double(), images())
        assert math.isnan(value.value)
        assert value.reason == "the model's forward pass has no ReLU that reads the images"


def mixed(x: Tensor) -> Tensor:
    """Windows of all images between the positions of one: ``[4, B, 16, D]``, flattened."""
    moved = x.unflatten(1, (4, 16)).transpose(0, 1).flatten(0, 1)  # [4 B, 16, D]
    pieces = moved.unflatten(1, (4, 4)).transpose(0, 1).flatten(0, 1)  # [4 4 B, 4, D]
    return F.relu(pieces.flatten(0, 1)).sum() + x


def test_rows_that_cannot_be_told_apart_are_refused_with_a_reason() -> None:
    found = proxies.naswot(Tokens(mixed).double(), images())
    assert math.isnan(found.value)
    assert "cannot be told apart" in (found.reason or "")


def test_relus_that_depend_on_the_number_of_images_are_refused_with_a_reason() -> None:
    def repeated(x: Tensor) -> Tensor:
        return F.relu(F.relu(x)) if len(x) > 2 else F.relu(x)

    found = proxies.naswot(Tokens(repeated).double(), images())
    assert math.isnan(found.value)
    assert "depends on the number of images" in (found.reason or "")
