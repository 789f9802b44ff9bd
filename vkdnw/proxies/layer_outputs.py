"""The outputs of a model's layers in a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def record_outputs(
    model: nn.Module,
    chosen: Callable[[nn.Module], bool],
    see: Callable[[nn.Module, Tensor], None],
) -> Iterator[None]:
    """Inside the block, modules that are chosen report the tensor that they return, in their order.

    Of a tuple the first element counts; other values that are not tensors are ignored.
    """

    def hook(module: nn.Module, args: Any, returned: Any) -> None:
        value = returned[0] if isinstance(returned, tuple) and returned else returned
        if isinstance(value, Tensor):
            check_untransformed(module, value)
            see(module, value)

    with ExitStack() as hooks:
        for module in model.modules():
            if chosen(module):
                hooks.callback(module.register_forward_hook(hook).remove)
        yield


def check_untransformed(module: nn.Module, value: Tensor) -> None:
    """Refuses an output whose numbers or sizes cannot be read; ValueError."""
    if torch._C._functorch.is_functorch_wrapped_tensor(value):
        raise ValueError(
            f"forward() calls a {type(module).__name__} inside a transform of torch.func (vmap, "
            "grad), where its output cannot be read, and this proxy reads the outputs of layers; "
            "call the layer outside of it"
        )
    if value.is_nested:
        raise ValueError(
            f"a {type(module).__name__} returns a nested tensor, whose sizes cannot be read, and "
            "this proxy reads the outputs of layers; pad it (torch.nested.to_padded_tensor)"
        )
