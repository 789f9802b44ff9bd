"""Verifies for each model the native layers and tapes that a train-mode pass may use.

Native layers and tapes are derived from the types of layers and from the autograd graph, and a
model may do more than that shows: attributes set after construction, replaced forwards, hooks on
tensors, tensors read by their strides. Therefore the model first runs on two of its images twice:
by torch's own layers, unchanged, and natively. A native quantity that is not equal up to rounding
is not used for the batch.

Logits, the gradient of the input, and those of all parameters are compared for a random cotangent
of the logits; products of the first block, the last and one more for random signs. Each quantity is
accepted or rejected by itself, because a value must not depend on the other proxies. Where a tensor
has a hook, only torch's layers are used: the hook may act on other gradients than these.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

from vkdnw.backward.layers import OverwrittenError
from vkdnw.ops.library import native
from vkdnw.proxies.block_products import side_ratio
from vkdnw.proxies.random_draws import derived_seed
from vkdnw.proxies.train_pass import Observable, Recording, TrainPass, train_pass
from vkdnw.runtime.model_state import Parts, State

TOLERANCE: float = torch.finfo(torch.float32).eps ** 0.5
"""Of the norm of a tensor: far above rounding through some dozens of layers, which is about 1e-5,
and far below the difference of any other function. Where rounding decides the sign of a ReLU's
input, a gradient may differ by more; torch's own layers are then used, which costs time only."""

FLOOR = 1e-2
"""Of the largest norm of a parameter's gradient: smaller gradients are compared on this scale. Some
are rounding alone, such as that of a bias in front of a BatchNorm."""


@dataclass(frozen=True)
class Verified:
    """The quantities for which a native pass agrees with a plain one."""

    layers: bool = False  # logits and the gradient of the input, on which all others rest
    products: bool = False  # of blocks
    weights: bool = False  # gradients of parameters

    def cover(self, observed: Iterable[Observable]) -> bool:
        """Which observed values of a pass were compared, and agreed."""
        return (
            self.layers
            and (self.products or "features" not in observed)
            and (self.weights or "weight gradients" not in observed)
        )


NOTHING = Verified()


def verified(
    model: nn.Module, state: State, batch: Tensor, recording: Recording, seed: int
) -> Verified:
    """The uses of a native pass of a model in train mode.

    The model's state and the random state are as before afterwards.
    """
    if not _may_be_native(state.parts, batch):
        return NOTHING
    pair = torch.stack([batch[-1], batch[derived_seed(seed, "pair") % max(len(batch) - 1, 1)]])
    both = Recording(recording.observed & DIFFERENTIATED, recording.features, recording.output)
    draws = _Draws(derived_seed(seed, "native check"))
    rng = torch.get_rng_state()
    hooks = _NoticedHooks()
    try:
        with nullcontext() if state.unwritten else hooks:  # known layers register none
            expected = _shown(model, state.parts, pair, both, False, draws)
        if hooks.noticed:
            return NOTHING
        state.rewind()
        torch.set_rng_state(rng)
        return _native_verdict(model, state, pair, both, draws, expected)
    except Exception:  # a model that fails, or does not take two images, raises its own error later
        return NOTHING
    finally:
        state.restore()
        torch.set_rng_state(rng)


def _native_verdict(
    model: nn.Module,
    state: State,
    pair: Tensor,
    recording: Recording,
    draws: _Draws,
    expected: _Shown,
) -> Verified:
    try:
        return _verdict(_shown(model, state.parts, pair, recording, True, draws), expected)
    except OverwrittenError:  # of an input that native layers read later, and torch's do not
        return NOTHING
    except Exception as error:  # where torch's own layers raised none
        warnings.warn(
            f"native layers do not compute {type(model).__name__}, and torch's own do, which is "
            f"slower: {error!r}",
            RuntimeWarning,
            stacklevel=2,
        )
        return NOTHING


DIFFERENTIATED: frozenset[Observable] = frozenset({"features", "weight gradients"})


def _may_be_native(parts: Parts, batch: Tensor) -> bool:
    if batch.dim() != 4 or batch.dtype != torch.float32 or batch.device.type != "cpu":
        return False
    if not native():
        return False
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return False
    return any(isinstance(module, nn.Conv2d | nn.BatchNorm2d) for module in parts.modules)


_GLOBAL_HOOKS = (
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
)


@dataclass(frozen=True)
class _Draws:
    """Random numbers, the same for both passes."""

    seed: int

    def numbers(self, shape: torch.Size) -> Tensor:
        return torch.randn(
            shape, generator=torch.Generator(device="cpu").manual_seed(self.seed), device="cpu"
        )

    def signs(self, shape: torch.Size) -> Tensor:
        return self.numbers(shape).sign()


@dataclass(frozen=True)
class _Shown:
    """The observed values of a pass; empty where they are not observed."""

    logits: Tensor
    of_input: Tensor
    products: list[Tensor | None]
    of_parameters: tuple[Tensor, ...]


def _shown(
    model: nn.Module, parts: Parts, pair: Tensor, recording: Recording, native: bool, draws: _Draws
) -> _Shown:
    with train_pass(model, parts, pair, recording, native) as shared:
        cotangent = draws.numbers(shared.logits.shape)
        shared.request_input_gradient(cotangent)
        shared.request_block_products([draws.signs(each.shape) for each in shared.features[:0:-1]])
        blocks = [pair for pair in range(1, len(shared.features)) if _has_product(shared, pair)]
        chosen = {blocks[0], blocks[-1], blocks[draws.seed % len(blocks)]} if blocks else set()
        products = [shared.block_product(index) for index in sorted(chosen)]
        if chosen:  # and the gradient itself, by autograd
            before, after = shared.features[max(chosen) - 1], shared.features[max(chosen)]
            products.append(shared.feature_gradient(before, after, draws.signs(after.shape)))
        of_parameters: tuple[Tensor, ...] = ()
        if "weight gradients" in recording.observed:
            value = (shared.logits * cotangent).sum()
            of_parameters = shared.gradients(value, list(model.parameters()))
        return _Shown(
            shared.logits.detach(),
            shared.input_gradient,
            products,
            of_parameters,
        )


def _has_product(shared: TrainPass, index: int) -> bool:
    try:
        side_ratio(shared.features[index - 1], shared.features[index])
    except ValueError:
        return False
    return True


def _verdict(found: _Shown, expected: _Shown) -> Verified:
    largest = max((float(each.norm()) for each in expected.of_parameters), default=0.0)
    return Verified(
        layers=_agree(found.logits, expected.logits) and _agree(found.of_input, expected.of_input),
        products=all(map(_agree, found.products, expected.products)),
        weights=all(
            _agree(ours, theirs, FLOOR * largest)
            for ours, theirs in zip(found.of_parameters, expected.of_parameters, strict=True)
        ),
    )


def _agree(found: Tensor | None, expected: Tensor | None, scale: float = 0.0) -> bool:
    if found is None or expected is None:
        return found is expected
    difference = float((found - expected).norm())
    return difference <= TOLERANCE * max(float(expected.norm()), scale)


class _NoticedHooks(TorchFunctionMode):
    """Notices hooks that are registered on tensors inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.noticed = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _REGISTER:
            self.noticed = True
        return func(*args, **(kwargs or {}))


_REGISTER = frozenset({Tensor.register_hook})
