"""Parameters that no layer of torch reads as its own weight."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tests.library.cases.case import layer_case
from tests.library.cases.convolutions import IMAGE


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Linear):
    """A subclass that changes nothing."""


class Scaled(nn.Linear):
    """A subclass with a parameter of its own that a hook applies."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.scale = nn.Parameter(torch.ones(outputs))
        self.register_forward_hook(lambda layer, args, output: output * layer.scale)


class Square(torch.autograd.Function):
    """x^2, with a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class SquaredWeights(nn.Module):
    """A bare parameter that goes through a custom function."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(5, 4))
        self.shift = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        return x @ Square.apply(self.matrix) + self.shift


OTHERS = [
    layer_case(
        "a subclass with its own forward", partial(Doubled, 5, 4), (5,), fallback=("weight", "bias")
    ),
    layer_case("a subclass without", partial(Renamed, 5, 4), (5,)),
    layer_case(
        "a subclass with another parameter", partial(Scaled, 5, 4), (5,), fallback=("scale",)
    ),
    layer_case(
        "bare parameters, custom function", SquaredWeights, (5,), fallback=("matrix", "shift")
    ),
    layer_case("PReLU", partial(nn.PReLU, 4), IMAGE, fallback=("weight",), reference="loop"),
    layer_case(
        "weight norm",
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 3, 3)),
        IMAGE,
        fallback=("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ),
    layer_case(
        "weight norm by hook",
        lambda: nn.utils.weight_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("weight_g", "weight_v"),
        reference="loop",
    ),
    layer_case(
        "spectral norm",
        lambda: parametrizations.spectral_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("parametrizations.weight.original",),
    ),
    layer_case(
        "spectral norm by hook",
        lambda: nn.utils.spectral_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("weight_orig",),
        reference="loop",
    ),
    layer_case(
        "pruned",
        lambda: prune.random_unstructured(nn.Linear(5, 4), "weight", amount=0.5),
        (5,),
        fallback=("weight_orig",),
        reference="loop",
    ),
]
