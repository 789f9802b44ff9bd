"""Linear layers, normalisations and embeddings over their hyper-parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from tests.library.cases.case import Case, layer_case
from tests.library.cases.convolutions import IMAGE

LINEARS = [
    layer_case("linear", partial(nn.Linear, 5, 4), (5,)),
    layer_case("linear, more than 64 outputs", partial(nn.Linear, 3, 70), (3,)),
    layer_case("linear over positions", partial(nn.Linear, 5, 4), (3, 5)),
    layer_case("linear over a grid, no bias", partial(nn.Linear, 5, 4, bias=False), (3, 2, 5)),
    layer_case(
        "linear on permuted axes",
        partial(nn.Linear, 4, 4),
        IMAGE,
        call=lambda layer, x: layer(x.permute(0, 2, 3, 1)),
    ),
    layer_case(
        "bilinear",
        partial(nn.Bilinear, 3, 3, 4),
        (3,),
        fallback=("weight", "bias"),
        call=lambda layer, x: layer(x, x.flip(1)),
    ),
]


def with_weight(layer: nn.Module, weight: list[float]) -> nn.Module:
    """Called after weights were drawn: the layer's scales are these."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def scales(weight: list[float]) -> Any:
    return lambda model: with_weight(model.layer, weight)


NORMALISATIONS = [
    layer_case("batch norm 1d", partial(nn.BatchNorm1d, 4), (4,)),
    layer_case("batch norm 1d over positions", partial(nn.BatchNorm1d, 4), (4, 6)),
    layer_case("batch norm 2d", partial(nn.BatchNorm2d, 4), IMAGE),
    layer_case("batch norm 3d", partial(nn.BatchNorm3d, 2), (2, 3, 2, 4)),
    layer_case("batch norm, more than 64 channels", partial(nn.BatchNorm2d, 70), (70, 2, 2)),
    layer_case("batch norm without affine", partial(nn.BatchNorm2d, 4, affine=False), IMAGE),
    layer_case(
        "batch norm with zero, tiny and negative scales",
        partial(nn.BatchNorm2d, 4),
        IMAGE,
        settled=scales([0.0, 1e-30, -1.5, 1e-3]),
    ),
    layer_case("layer norm", partial(nn.LayerNorm, 6), (6,)),
    layer_case("layer norm over positions", partial(nn.LayerNorm, 6, eps=0.1), (3, 6)),
    layer_case("layer norm of all axes", partial(nn.LayerNorm, IMAGE), IMAGE),
    layer_case("layer norm of two axes", partial(nn.LayerNorm, IMAGE[1:]), IMAGE),
    layer_case("layer norm without bias", partial(nn.LayerNorm, 6, bias=False), (3, 6)),
    layer_case(
        "layer norm without affine", partial(nn.LayerNorm, 6, elementwise_affine=False), (6,)
    ),
    layer_case("group norm", partial(nn.GroupNorm, 2, 4), IMAGE),
    layer_case("group norm of one group", partial(nn.GroupNorm, 1, 4, eps=0.1), (4, 6)),
    layer_case("group norm of vectors", partial(nn.GroupNorm, 2, 6), (6,)),
    layer_case("group norm of channels", partial(nn.GroupNorm, 4, 4), (4, 2, 3, 2)),
    layer_case("group norm, more than 64 channels", partial(nn.GroupNorm, 7, 70), (70, 2, 2)),
    layer_case("group norm without affine", partial(nn.GroupNorm, 2, 4, affine=False), IMAGE),
    layer_case(
        "instance norm",
        partial(nn.InstanceNorm2d, 4, affine=True),
        IMAGE,
        fallback=("weight", "bias"),
    ),
    layer_case("rms norm", partial(nn.RMSNorm, 6), (3, 6), fallback=("weight",)),
]


def embedding(name: str, shape: tuple[int, ...] = (6,), **options: Any) -> Case:
    """Seven tokens of three numbers; options a rule does not cover go to the fallback."""
    covered = not {"max_norm", "sparse", "scale_grad_by_freq"} & options.keys()
    return layer_case(
        name,
        partial(nn.Embedding, 7, 3, **options),
        shape,
        tokens=7,
        fallback=() if covered else ("weight",),
        reference="alone",
    )


EMBEDDINGS = [
    embedding("embedding"),
    embedding("embedding of one token", ()),
    embedding("embedding of a grid", (2, 3)),
    embedding("embedding with padding", padding_idx=2),
    embedding("embedding with padding counted from the end", padding_idx=-1),
    embedding("embedding with max_norm", max_norm=0.5),
    embedding("embedding with scale_grad_by_freq", scale_grad_by_freq=True),
    embedding("sparse embedding", sparse=True),
    layer_case("large embedding", partial(nn.Embedding, 30, 5), (6,), tokens=30, reference="alone"),
    *(
        layer_case(
            f"embedding bag, {mode}",
            partial(nn.EmbeddingBag, 7, 3, mode=mode),
            (6,),
            tokens=7,
            fallback=("weight",),
            reference="alone",
        )
        for mode in ("sum", "mean", "max")
    ),
]
