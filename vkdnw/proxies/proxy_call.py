"""The model, the inputs and the options of one computation of a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from vkdnw.checks import Output
from vkdnw.proxies.inputs import Inputs
from vkdnw.proxies.random_draws import generator

ProxyConvention = Literal["default", "released"]


@dataclass(frozen=True)
class Call:
    """The model, the inputs and the options of one computation of a proxy."""

    model: nn.Module
    inputs: Inputs
    seed: int
    convention: ProxyConvention = "default"
    features: tuple[str, ...] | None = None
    """Names of the modules whose outputs are F_0 .. F_K; None: found by rule."""
    output: Output = None
    shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Values that proxies outside the shared pass share with each other."""

    @property
    def released(self) -> bool:
        return self.convention == "released"

    def generator(self, name: str) -> torch.Generator:
        """The generator of the draws of a proxy."""
        return generator(self.seed, name)
