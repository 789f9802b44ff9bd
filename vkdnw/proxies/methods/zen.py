"""Zen: how much a network's features change with a small change of the input (Lin et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vkdnw.proxies.proxy import Proxy
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.train_pass import as_leaf
from vkdnw.proxies.value import Value, undefined

STEP = 0.01


def zen_score(call: Call) -> Value:
    """log d + sum over BatchNorms of log sqrt(mean variance).

    d is the mean over images of the L1 norm of f(x) - f(x + 0.01 e), with x and e standard
    normal and f the last feature map: the output of the last module that has pixels. The variances
    are those of the channels that BatchNorm divides by on x. Passes run in the model's dtype, sums
    in float64. Source: Lin et al., "Zen-NAS", algorithm 1. Skips are kept, unlike there: in a
    search space of skips the score compares them.

    Released: the running variances after both passes, which are mostly their initial ones.
    """
    noise = call.inputs.read("noise")
    x = as_leaf(noise, channels_last=noise.dim() == 4).requires_grad_(False)
    step = call.inputs.perturbation
    if step is None:
        step = torch.randn(x.shape, generator=call.generator("zen"), device="cpu")
    with torch.no_grad():
        plain = _observed(call.model, x)
        moved = _observed(call.model, x + STEP * step.to(x), copies=plain.copies)
    distance = (plain.map() - moved.map()).abs().sum(dtype=torch.float64) / len(x)
    terms = _running_variances(call.model) if call.released else plain.variances
    if not float(distance) > 0:
        return undefined("the last feature map does not change with the input", -math.inf)
    if not all(variance > 0 for variance in terms):
        return undefined("a BatchNorm reads a feature that does not vary", -math.inf)
    return Value(math.log(distance) + sum(0.5 * math.log(variance) for variance in terms))


@dataclass
class _Observed:
    """The findings of a forward pass."""

    variances: list[float] = field(default_factory=list)  # of each BatchNorm, mean over channels
    last: Tensor | None = None
    copies: bool = False  # whether maps are copied, since the model overwrites the last one
    version: int = 0

    @property
    def overwritten(self) -> bool:
        """Whether the last map has been written to since a module returned it."""
        return not self.copies and self.last is not None and _version(self.last) != self.version

    def map(self) -> Tensor:
        if self.last is None:
            raise ValueError(
                "no module of the model returns a feature map [B, C, ...] with more than one "
                "pixel; zen compares such maps"
            )
        return self.last

    def see(self, module: nn.Module, args: tuple[Any, ...], value: Any) -> None:
        if not isinstance(value, Tensor) or value.is_nested:
            return
        if value.dim() > 2 and value.shape[2:].numel() > 1:
            self.last = value.clone() if self.copies else value
            self.version = _version(self.last)

    def see_norm(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        x: Tensor = args[0] if args else named["input"]
        rows = x.movedim(1, -1).flatten(0, -2)  # [B pixels, C]: as it lies in memory
        self.variances.append(float(rows.var(dim=0, correction=0).double().mean()))


def _version(tensor: Tensor) -> int:
    """How often it has been written to; tensors of inference mode do not tell."""
    return 0 if tensor.is_inference() else tensor._version


def _observed(model: nn.Module, x: Tensor, copies: bool = False) -> _Observed:
    before = [] if copies else [(buffer, buffer.clone()) for buffer in model.buffers()]
    found = _Observed(copies=copies)
    with _hooks(model, found):
        model(x)
    if not found.overwritten:
        return found
    for buffer, numbers in before:  # so that running statistics see every batch once
        buffer.copy_(numbers)
    return _observed(model, x, copies=True)


@contextmanager
def _hooks(model: nn.Module, found: _Observed) -> Iterator[None]:
    with ExitStack() as hooks:
        keep: Callable[[Any], Any] = lambda handle: hooks.callback(handle.remove)  # noqa: E731
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                keep(module.register_forward_pre_hook(found.see_norm, with_kwargs=True))
            keep(module.register_forward_hook(found.see))
        yield


def _running_variances(model: nn.Module) -> list[float]:
    found = []
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            if module.running_var is None:
                raise ValueError(
                    f"{name} keeps no running statistics, which the released convention reads; "
                    "use convention='default'"
                )
            found.append(float(module.running_var.double().mean()))
    return found


zen = Proxy(
    name="zen",
    title="Zen",
    reference="Lin et al., Zen-NAS, ICCV 2021",
    input="noise",
    batches=2,
    mode="train",
    init="normal",
    cost="forward",
    undefined="minus infinity where the features do not change, or a BatchNorm's input is constant",
    released="running variances after two passes, mostly their initial ones, for the variances",
    compute=zen_score,
)
