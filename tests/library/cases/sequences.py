"""Attention and recurrent layers."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from tests.library.cases.case import layer_case

ATTENTION_WEIGHTS = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
RNN_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def time_major(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer on ``[T, B, F]``, back to ``[B, T, F]``."""
    x = x.transpose(0, 1)
    returned = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
    return (returned[0] if isinstance(returned, tuple) else returned).transpose(0, 1)


SEQUENCES = [
    layer_case(
        "multi-head attention",
        partial(nn.MultiheadAttention, 4, 2, batch_first=True),
        (3, 4),
        fallback=ATTENTION_WEIGHTS,
        call=lambda layer, x: layer(x, x, x)[0],
    ),
    layer_case(
        "multi-head attention, time first",
        partial(nn.MultiheadAttention, 4, 2),
        (3, 4),
        fallback=ATTENTION_WEIGHTS,
        call=time_major,
    ),
    layer_case(
        "transformer layer",
        partial(nn.TransformerEncoderLayer, 4, 2, 8, batch_first=True),
        (3, 4),
        fallback=tuple(f"self_attn.{name}" for name in ATTENTION_WEIGHTS),
    ),
    layer_case(
        "transformer layer, norm first",
        partial(nn.TransformerEncoderLayer, 4, 2, 8, batch_first=True, norm_first=True),
        (3, 4),
        fallback=tuple(f"self_attn.{name}" for name in ATTENTION_WEIGHTS),
    ),
    *(
        layer_case(
            f"{kind.__name__}, {'batch' if batch_first else 'time'} first",
            partial(kind, 3, 4, batch_first=batch_first),
            (4, 3),
            fallback=RNN_WEIGHTS,
            call=(lambda layer, x: layer(x)[0]) if batch_first else time_major,
            reference="loop",
        )
        for kind in (nn.LSTM, nn.GRU)
        for batch_first in (True, False)
    ),
]
