"""The grammar's rules: ways to use a module inside another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from tests.library.cases.case import Forward
from tests.library.fuzz.elements import Label


@dataclass(frozen=True)
class Wrapper:
    name: str
    build: Callable[[nn.Module], nn.Module]
    label: Label = "plain"
    rounding: torch.dtype | None = None


def wrapper(
    name: str,
    run: Callable[[Any, Tensor], Tensor],
    label: Label = "plain",
    rounding: torch.dtype | None = None,
) -> Wrapper:
    return Wrapper(name, lambda inner: Forward(run, inner=inner), label, rounding)


def fitted(x: Tensor, y: Tensor) -> Tensor:
    """``x`` with the pixels of ``y``: a convolution may have a stride."""
    return x if x.shape == y.shape else F.adaptive_avg_pool2d(x, y.shape[-2:])


def residual(m: Any, x: Tensor) -> Tensor:
    y = m.inner(x)
    return fitted(x, y) + y


def detached(m: Any, x: Tensor) -> Tensor:
    y = m.inner(x)
    return fitted(x, y) + y.detach()


def detached_input(m: Any, x: Tensor) -> Tensor:
    y = m.inner(x.detach())
    return fitted(x, y) + y


def kept_as_attribute(m: Any, x: Tensor) -> Tensor:
    m.features = m.inner(x)
    return torch.tanh(m.features)


def kept_in_list(m: Any, x: Tensor) -> Tensor:
    m.__dict__.setdefault("seen", []).append(m.inner(x))
    return torch.sin(m.seen[-1])


def half_precision(m: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = m.inner(x)
    return y.to(x.dtype)


def tensor_hook(m: Any, x: Tensor) -> Tensor:
    y = m.inner(x)
    if y.requires_grad:
        y.register_hook(halved)
    return torch.tanh(y)


def halved(gradient: Tensor) -> Tensor:
    return 0.5 * gradient


def scaled(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return 1.5 * output


def shifted(module: nn.Module, args: Any) -> Any:
    return (args[0] + 0.25,)


def output_hook(inner: nn.Module) -> nn.Module:
    inner.register_forward_hook(scaled)
    return inner


def input_hook(inner: nn.Module) -> nn.Module:
    inner.register_forward_pre_hook(shifted)
    return inner


def cached(m: Any, x: Tensor) -> Tensor:
    with parametrize.cached():
        return m.inner(torch.tanh(m.inner(x)))


WRAPPERS = [
    wrapper("residual", residual),
    wrapper("detached", detached),
    wrapper("detached input", detached_input),
    wrapper("reused", lambda m, x: m.inner(torch.tanh(m.inner(x)))),
    wrapper("reused under parametrize.cached", cached),
    wrapper("kept as attribute", kept_as_attribute),
    wrapper("kept in a list", kept_in_list),
    wrapper("autocast", half_precision, rounding=torch.bfloat16),
    wrapper("tensor hook", tensor_hook),
    wrapper("checkpoint", lambda m, x: checkpoint(m.inner, x, use_reentrant=False)),
    wrapper("reentrant", lambda m, x: checkpoint(m.inner, x, use_reentrant=True), "hidden"),
    Wrapper("output hook", output_hook),
    Wrapper("input hook", input_hook),
]
