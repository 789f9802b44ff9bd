"""Networks of the published implementations: counts, and logits under formula weights."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "spaces"


@cache
def networks(space: str) -> list[dict[str, Any]]:
    """The cases of `tests/golden/spaces/<space>.json`; its `meta` says where they come from."""
    return json.loads((FOLDER / f"{space}.json").read_text())["networks"]


@torch.no_grad()
def fill(model: nn.Module) -> nn.Module:
    """Give every tensor the values that the golden logits were computed with; float64."""
    model.double()
    for t, (name, parameter) in enumerate(model.named_parameters()):
        i = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
        parameter.copy_(_values(name, parameter, i, t).view_as(parameter))
    return model


def _values(name: str, parameter: Tensor, i: Tensor, t: int) -> Tensor:
    if name.rpartition(".")[2] not in ("weight", "bias"):  # tokens, positions, tables
        return 0.5 * torch.sin(i + t)
    if parameter.dim() > 1:
        return 2 / math.sqrt(parameter[0].numel()) * torch.sin(12.9898 * i + t)
    return 1 + 0.1 * torch.cos(i + t) if name.endswith("weight") else 0.1 * torch.sin(i + t)


def images(resolution: int) -> Tensor:
    steps = torch.arange(1, 2 * 3 * resolution**2 + 1, dtype=torch.float64)
    return torch.sin(0.37 * steps).view(2, 3, resolution, resolution)


def logits(model: nn.Module, resolution: int) -> Tensor:
    """Those of two images, in the mode that the model is in."""
    with torch.no_grad():
        return fill(model)(images(resolution))


def count(model: nn.Module, *kinds: type[nn.Module]) -> int:
    """The modules of these types."""
    return sum(isinstance(module, kinds) for module in model.modules())


def assert_published_modules(
    model: nn.Module, case: Mapping[str, Any], kinds: Mapping[str, type[nn.Module]]
) -> None:
    """The model has as many modules of each kind as the published one; kinds by their keys."""
    assert {key: count(model, kind) for key, kind in kinds.items()} == {
        key: case[key] for key in kinds
    }


def assert_published_logits(model: nn.Module, resolution: int, published: list[Any]) -> None:
    expected = torch.tensor(published, dtype=torch.float64)
    torch.testing.assert_close(logits(model, resolution), expected, rtol=1e-9, atol=1e-9)


def flops(model: nn.Module, resolution: int) -> int:
    """Multiply-adds as torch counts them, at a resolution."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(torch.zeros(1, 3, resolution, resolution))
    return counter.get_total_flops() // 2
