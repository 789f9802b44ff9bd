"""The derivatives of a network's logits at the absolute values of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vkdnw.checks import pick_logits
from vkdnw.proxies.proxy_call import Call
from vkdnw.proxies.weight_gradients import weight_gradients
from vkdnw.proxies.weight_layers import multiplying_weights


def absolute_weights(call: Call) -> dict[str, tuple[Tensor, Tensor]]:
    """abs(w) and dR/dw there, by name, of all layers that multiply; R is the sum of the logits.

    The input is ones, one sample. All parameters and buffers are replaced by their absolute values.
    Everything is float64.

    Raises:
        ValueError: a layer computes its weights on each call, or autograd fails.
    """
    state = {
        name: tensor.detach().double().abs() if tensor.is_floating_point() else tensor
        for name, tensor in (*call.model.named_parameters(), *call.model.named_buffers())
    }
    own = multiplying_weights(call.model)
    weights = {name: state[name].requires_grad_() for name in own}
    for name, parameter in own.items():
        for hook in (parameter._backward_hooks or {}).values():  # the caller's, on gradients
            weights[name].register_hook(hook)
    ones = torch.ones_like(call.inputs.read("ones")[:1], dtype=torch.float64)
    slopes = functional_call(
        _Slopes(call.model, call.output),
        {f"model.{name}": tensor for name, tensor in state.items()},
        (ones, list(weights.values())),
    )
    return {
        name: (weight.detach(), slope)
        for (name, weight), slope in zip(weights.items(), slopes, strict=True)
    }


class _Slopes(nn.Module):
    """Runs a model and its backward pass, in which a checkpoint runs a part of the model again."""

    def __init__(self, model: nn.Module, output: Any) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def forward(self, x: Tensor, weights: list[Tensor]) -> tuple[Tensor, ...]:
        logits = pick_logits(self.model(x), self.output)
        return weight_gradients(logits.sum(), weights, retain_graph=False)
