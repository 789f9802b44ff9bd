"""A case: a model, a batch, and which parameters are expected to have no layer rule."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

EVERY = ("*",)  # as `fallback`: no parameter has a rule


@dataclass(frozen=True)
class Case:
    """A model to be differentiated, built when it is used."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]  # the batch
    fallback: tuple[str, ...] = ()  # parameters without a rule here, in the model's order
    output: Any = None
    reference: Literal["vmap", "loop", "alone"] = "vmap"
    needs_two: bool = False  # the model cannot take a batch of one sample
    settled: Callable[[nn.Module], None] = field(default=lambda model: None)

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """The model in eval mode, with weights and statistics drawn from the case's name."""
        with torch.random.fork_rng():
            torch.manual_seed(zlib.crc32(self.name.encode()))
            model = self.build()
            randomise(model)
            self.settled(model)
        return model.to(dtype).eval()

    def batch(self, dtype: torch.dtype = torch.float64) -> Any:
        """The batch, drawn from the case's name."""
        with torch.random.fork_rng():
            torch.manual_seed(zlib.crc32(self.name.encode()) + 1)
            return converted(self.inputs(), dtype)


def randomise(model: nn.Module) -> None:
    """Weights, biases and BatchNorm statistics that hide no term: none is 0 or 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.normal_(0.0, fan_in**-0.5)
        for module in model.modules():
            if isinstance(module, _NormBase) and module.running_mean is not None:
                module.running_mean.normal_(0.0, 0.5)
                module.running_var.uniform_(0.5, 2.0)
            if isinstance(module, _NormBase) and module.affine:
                # Away from zero, so that it can be folded; cases of their own have other scales.
                module.weight.copy_(torch.randn_like(module.weight).sign() * (0.5 + torch.rand(())))


def converted(value: Any, dtype: torch.dtype) -> Any:
    """The batch with its floating-point tensors in another dtype, strides kept."""
    if isinstance(value, dict):
        return {key: converted(item, dtype) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(converted(item, dtype) for item in value)
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value


class Classified(nn.Module):
    """A layer under test, ``tanh``, and a linear classifier."""

    def __init__(
        self,
        layer: nn.Module,
        sample: Any,
        call: Callable[[nn.Module, Any], Tensor] = lambda layer, x: layer(x),
        classes: int = 3,
    ) -> None:
        super().__init__()
        self.layer, self.call = layer, call
        with torch.no_grad():
            features = call(layer.eval(), sample).flatten(1).shape[1]
        self.head = nn.Linear(features, classes)

    def forward(self, x: Any) -> Tensor:
        return self.head(torch.tanh(self.call(self.layer, x)).flatten(1))


def layer_case(
    name: str,
    layer: Callable[[], nn.Module],
    shape: tuple[int, ...],
    *,
    fallback: tuple[str, ...] = (),
    call: Callable[[nn.Module, Any], Tensor] = lambda layer, x: layer(x),
    tokens: int | None = None,
    **options: Any,
) -> Case:
    """One layer on five samples of a shape; ``fallback`` names parameters of the layer.

    With ``tokens`` the samples are integers below it.
    """

    def inputs() -> Tensor:
        if tokens is not None:
            return torch.randint(tokens, (5, *shape))
        return torch.randn(5, *shape)

    return Case(
        name,
        lambda: Classified(layer(), inputs()[:2], call),
        inputs,
        fallback=tuple(f"layer.{leaf}" for leaf in fallback),
        **options,
    )


class Forward(nn.Module):
    """Named parts, and a forward written where the model is used: ``forward(parts, *inputs)``."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def forward(
    name: str, run: Any, inputs: Any, parts: Callable[[], dict[str, Any]], **options: Any
) -> Case:
    """A case of :class:`Forward`: its parts are made when it is built."""
    return Case(name, lambda: Forward(run, **parts()), inputs, **options)


def linears(**sizes: tuple[int, int]) -> Callable[[], dict[str, Any]]:
    """Parts for :func:`forward`: linear layers of given sizes."""
    return lambda: {name: nn.Linear(*size) for name, size in sizes.items()}


def normal(*shape: int) -> Callable[[], Tensor]:
    """A batch of a shape."""
    return lambda: torch.randn(*shape)


def vectors() -> Tensor:
    """Five samples of four numbers."""
    return torch.randn(5, 4)


def images() -> Tensor:
    """Five small images."""
    return torch.randn(5, 3, 6, 6)
