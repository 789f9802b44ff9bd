"""Golden structures, and the networks that their numbers were computed with."""

import json
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tests.shared import golden_path


@cache
def structures() -> list[dict[str, Any]]:
    return json.loads(golden_path("mbv2_structures.json").read_text())["structures"]


def space() -> dict[str, Any]:
    return json.loads(golden_path("mbv2_space.json").read_text())


@torch.no_grad()
def fill(model: nn.Module) -> nn.Module:
    """Give every tensor the values that the golden numbers were computed with; float64."""
    model.double()
    for name, parameter in model.named_parameters():
        steps = torch.arange(1, parameter.numel() + 1, dtype=torch.float64)
        if parameter.dim() > 1:
            scale = math.sqrt(2) * math.sqrt(2 / parameter[0].numel())
            parameter.copy_((scale * torch.sin(12.9898 * steps)).view_as(parameter))
        elif ".bn." in name or "_bn." in name:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            parameter.copy_(0.01 * torch.sin(steps))
    return model


def images() -> Tensor:
    steps = torch.arange(1, 2 * 3 * 64 * 64 + 1, dtype=torch.float64)
    return torch.sin(0.37 * steps).view(2, 3, 64, 64)
