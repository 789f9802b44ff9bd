"""Refuses bare parameters that multiply as a layer's weight would, which a sum over layers omits.

A module may hold a matrix of its own and call ``torch.nn.functional.linear``, ``matmul`` or
``einsum`` with it: GPT-2's layers do, adapters of low rank, stacked experts. By their classes they
are not layers with weights, and a sum over weights would silently leave them out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vkdnw.per_sample.probing.row_wise import address, tensors_in
from vkdnw.proxies.flop_count import FORMULAS
from vkdnw.proxies.weight_layers import multiplying_weights
from vkdnw.runtime.model_state import preserved


def check_bare_weights(model: nn.Module, images: Tensor) -> None:
    """Runs a model with bare parameters on images, and finds products with them.

    The model's state is kept. An error of the model is ignored here: it occurs again in the passes.

    Raises:
        ValueError: a product with numbers of the images has such a parameter for a factor.
    """
    counted = {id(weight) for weight in multiplying_weights(model).values()}
    bare = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and id(parameter) not in counted
    }
    if not bare:
        return
    images = images.detach().clone()  # the model may write into them
    watched = _Products({address(parameter): name for name, parameter in bare.items()}, images)
    with preserved(model), torch.no_grad():
        try:
            with watched:
                model(images)
        except Exception:
            return
    if watched.factor is not None:
        owner = model.get_submodule(watched.factor.rpartition(".")[0])
        scripted = isinstance(owner, torch.jit.ScriptModule)
        remedy = (
            "pass the model as it was before torch.jit"
            if scripted
            else "hold it in such a layer of torch.nn and call that"
        )
        raise ValueError(
            f"{watched.factor}, a parameter of a {type(owner).__name__}, multiplies what the "
            "network computes as the weight of a layer does, and is none of a convolution, linear, "
            f"attention or recurrent layer, over which this proxy sums; {remedy}"
        )


class _Products(TorchDispatchMode):
    """Finds a product of a bare parameter with a tensor that depends on the images."""

    def __init__(self, bare: dict[int, str], images: Tensor) -> None:
        """``bare`` are the parameters' names, by the address of their memory."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.factor: str | None = None
        self._bare = bare
        self._varying = {address(images)}
        self._held: list[Tensor] = []  # so that no address is used again

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = [address(tensor) for tensor in tensors_in((*args, *(kwargs or {}).values()))]
        returned = func(*args, **(kwargs or {}))
        made = tensors_in((returned, *(returned if isinstance(returned, tuple | list) else ())))
        self._held += made
        if not self._varying.isdisjoint(given):
            self._varying.update(map(address, made))
            if self.factor is None and func._overloadpacket in FORMULAS:
                self.factor = next((self._bare[at] for at in given if at in self._bare), None)
        elif len(given) == 1 and given[0] in self._bare:  # a copy in another order or dtype
            self._bare |= {address(tensor): self._bare[given[0]] for tensor in made}
        return returned
