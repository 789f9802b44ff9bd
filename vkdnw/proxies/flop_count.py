"""FLOPs of a forward pass by torch's formulas, and by own formulas where torch has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from vkdnw.per_sample.known_layers import PLAIN, unwritten_parts
from vkdnw.per_sample.probing.symbolic import symbols_of
from vkdnw.runtime.members import Members

_aten = torch.ops.aten


@dataclass(frozen=True)
class Product:
    """An operator of a forward pass that multiplies and adds."""

    flops: int
    """By the operator's formula; a multiply-add is two."""
    outputs: int
    """Numbers that it returns."""
    channels: int
    """Of these, how many belong to one position: a map's channels, a token's width."""

    @property
    def positions(self) -> float:
        """Pixels or tokens at which it is applied, groups of attention heads counted apart."""
        return self.outputs / self.channels

    @property
    def fan_in(self) -> float:
        """Multiply-adds for each number that it returns."""
        return self.flops / 2 / self.outputs


def forward_flops(model: nn.Module, sample: Tensor) -> int:
    """FLOPs of ``model(sample)``: convolutions, matrix products, attention, recurrent layers.

    The formulas are those of ``torch.utils.flop_counter``, where a multiply-add is two FLOPs, and
    :data:`FORMULAS`. The model runs once, without gradients.
    """
    return sum(product.flops for product in forward_products(model, sample))


def forward_products(model: nn.Module, sample: Tensor) -> list[Product]:
    """The FLOPs of ``model(sample)``, operator by operator, as :func:`forward_flops` counts."""
    known = _products_of_known_layers(model, sample)
    if known is not None:
        return known
    recorder = _Recorder()
    # With a function mode torch.nn leaves out its fused encoder, one operator for a whole layer.
    with torch.no_grad(), BaseTorchFunctionMode(), recorder:
        model(sample)
    return recorder.products


def _products_of_known_layers(model: nn.Module, sample: Tensor) -> list[Product] | None:
    """The same of a model of known layers, which is not run; None of any other.

    Symbols take a tenth of the time of the operators, each of which Python would look at.
    """
    members = Members.of(model)
    if (
        sample.dim() != 4
        or type(sample) not in PLAIN
        or any(p.dtype != sample.dtype for p in members.parameters.values())
        or unwritten_parts(members) is None
    ):
        return None
    products: list[Product] = []
    symbols = symbols_of(model, members.modules, sample, len(sample))
    for symbol in symbols:
        layer: Any = members.modules[symbol.layer] if symbol.layer else None
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if layer.weight.shape != _made_with(layer):
                return None
            outputs = torch.Size(symbol.shape).numel()
            fan_in = layer.weight[0].numel()
            products.append(Product(2 * outputs * fan_in, outputs, symbol.shape[1]))
    return products if symbols else None


def _made_with(layer: Any) -> tuple[int, ...]:
    """The shape of a layer's weight by the layer's own sizes."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


class _Recorder(TorchDispatchMode):
    """Notes every operator that has a formula."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # where composite operators come in one piece
            with self:
                returned = func.decompose(*args, **kwargs)
            if returned is not NotImplemented:
                return returned
        returned = func(*args, **kwargs)
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            flops = formula(*args, **kwargs, out_val=returned)
            product = _product(func._overloadpacket, flops, returned)
            if product.outputs:  # an expert that no token goes to computes nothing
                self.products.append(product)
        return returned


def _product(operator: Any, flops: int, returned: Any) -> Product:
    tensors = returned if isinstance(returned, (tuple, list)) else (returned,)
    out = next(tensor for tensor in tensors if isinstance(tensor, Tensor))
    axis = 1 if "conv" in str(operator) else -1
    return Product(flops, out.numel(), out.shape[axis] if out.dim() else 1)


# ---- formulas that torch.utils.flop_counter lacks ----------------------------------------------


def _product_with_vector(matrix: Tensor, vector: Tensor, **_: Any) -> int:
    return 2 * matrix.numel()


def _added_product_with_vector(added: Tensor, matrix: Tensor, vector: Tensor, **_: Any) -> int:
    return 2 * matrix.numel()


def _dot(first: Tensor, second: Tensor, **_: Any) -> int:
    return 2 * first.numel()


def _batched_sum(added: Tensor, first: Tensor, second: Tensor, **_: Any) -> int:
    """``added + sum_b first_b @ second_b``."""
    return 2 * first.numel() * second.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    flops: int = sdpa_flop_count(query.shape, key.shape, value.shape)
    return flops


def _recurrent_layer(x: Tensor, *weights: Any, **_: Any) -> int:
    """One layer and direction of an LSTM, on a CPU: ``x`` is ``[T, B, D]``."""
    return _recurrent(x, weights[:2])


def _recurrent_layers(x: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    """All layers of an RNN, on a GPU; ``x`` is ``[T, B, D]`` or ``[B, T, D]``."""
    return _recurrent(x, weights)


def _recurrent(x: Tensor, weights: Sequence[Tensor]) -> int:
    steps = x.shape[:2].numel()
    return sum(2 * steps * weight.numel() for weight in weights if weight.dim() == 2)


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    _aten.mv: _product_with_vector,
    _aten.addmv: _added_product_with_vector,
    _aten.dot: _dot,
    _aten.addbmm: _batched_sum,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten.mkldnn_rnn_layer: _recurrent_layer,
    _aten._cudnn_rnn: _recurrent_layers,
}
"""FLOPs of an operator, from its arguments and ``out_val``, by its overload packet."""
