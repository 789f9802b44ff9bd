"""One layer at a time, over its hyper-parameters."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tests.library.case import Case, layer_case

IMAGE = (4, 7, 6)


def conv(name: str, layer: Any, shape: tuple[int, ...] = IMAGE) -> Case:
    return layer_case(name, layer, shape)


CONVOLUTIONS = [
    conv("conv2d", partial(nn.Conv2d, 4, 6, 3)),
    conv("conv2d 1x1 without bias", partial(nn.Conv2d, 4, 6, 1, bias=False)),
    conv("conv2d stride and padding", partial(nn.Conv2d, 4, 6, 3, stride=2, padding=1)),
    conv(
        "conv2d every number per axis",
        partial(nn.Conv2d, 4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3)),
    ),
    conv("conv2d stride beyond kernel", partial(nn.Conv2d, 4, 6, 2, stride=3)),
    conv("conv2d padding beyond kernel", partial(nn.Conv2d, 4, 6, 2, padding=3)),
    conv("conv2d dilation", partial(nn.Conv2d, 4, 6, 3, dilation=2, padding=1)),
    conv("conv2d groups", partial(nn.Conv2d, 4, 6, 3, padding=1, groups=2)),
    conv("conv2d depthwise", partial(nn.Conv2d, 4, 4, 3, padding=1, groups=4)),
    conv("conv2d depthwise multiplier", partial(nn.Conv2d, 4, 12, 3, stride=2, groups=4)),
    conv("conv2d 16 channels", partial(nn.Conv2d, 16, 16, 3, padding=1), (16, 5, 5)),
    conv("conv2d same, even kernel", partial(nn.Conv2d, 4, 6, (4, 2), padding="same")),
    conv("conv2d same, dilation", partial(nn.Conv2d, 4, 6, 2, padding="same", dilation=3)),
    conv("conv2d valid", partial(nn.Conv2d, 4, 6, 3, padding="valid")),
    conv(
        "conv2d same, reflect",
        partial(nn.Conv2d, 4, 6, (4, 3), padding="same", padding_mode="reflect"),
    ),
    *(
        conv(
            f"conv2d {mode}",
            partial(nn.Conv2d, 4, 6, 3, stride=2, padding=(2, 1), padding_mode=mode),
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    conv("conv1d", partial(nn.Conv1d, 4, 6, 3, stride=2, padding=1), (4, 9)),
    conv("conv1d same, groups", partial(nn.Conv1d, 4, 6, 4, padding="same", groups=2), (4, 9)),
    conv(
        "conv1d circular",
        partial(nn.Conv1d, 4, 20, 3, padding=2, dilation=2, padding_mode="circular"),
        (4, 9),
    ),
    conv("conv3d", partial(nn.Conv3d, 2, 4, (2, 3, 1), stride=(1, 2, 1), padding=1), (2, 3, 5, 4)),
    conv(
        "conv3d replicate, groups",
        partial(nn.Conv3d, 2, 4, 2, padding=(0, 1, 2), padding_mode="replicate", groups=2),
        (2, 3, 4, 3),
    ),
    conv(
        "conv3d same, dilation",
        partial(nn.Conv3d, 2, 4, 2, padding="same", dilation=2),
        (2, 3, 4, 3),
    ),
    *(
        layer_case(name, layer, shape, fallback=("weight", "bias"))
        for name, layer, shape in (
            ("conv transpose 1d", partial(nn.ConvTranspose1d, 4, 3, 3, stride=2), (4, 5)),
            ("conv transpose 2d", partial(nn.ConvTranspose2d, 4, 4, 3, output_padding=0), IMAGE),
            (
                "conv transpose 3d",
                partial(nn.ConvTranspose3d, 2, 2, 2, groups=2),
                (2, 3, 3, 2),
            ),
        )
    ),
]

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


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Renamed(nn.Linear):
    """A subclass that changes nothing."""


class Scaled(nn.Linear):
    """A subclass with a parameter of its own that a hook applies."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.scale = nn.Parameter(torch.ones(outputs))
        self.register_forward_hook(lambda layer, args, output: output * layer.scale)


class Square(torch.autograd.Function):
    """x^2, with a derivative of its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class SquaredWeights(nn.Module):
    """A bare parameter that goes through a custom function."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(5, 4))
        self.shift = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        return x @ Square.apply(self.matrix) + self.shift


OTHERS = [
    layer_case(
        "a subclass with its own forward", partial(Doubled, 5, 4), (5,), fallback=("weight", "bias")
    ),
    layer_case("a subclass without", partial(Renamed, 5, 4), (5,)),
    layer_case(
        "a subclass with another parameter", partial(Scaled, 5, 4), (5,), fallback=("scale",)
    ),
    layer_case(
        "bare parameters, custom function", SquaredWeights, (5,), fallback=("matrix", "shift")
    ),
    layer_case("PReLU", partial(nn.PReLU, 4), IMAGE, fallback=("weight",), reference="loop"),
    layer_case(
        "weight norm",
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 3, 3)),
        IMAGE,
        fallback=("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ),
    layer_case(
        "weight norm by hook",
        lambda: nn.utils.weight_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("weight_g", "weight_v"),
        reference="loop",
    ),
    layer_case(
        "spectral norm",
        lambda: parametrizations.spectral_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("parametrizations.weight.original",),
    ),
    layer_case(
        "spectral norm by hook",
        lambda: nn.utils.spectral_norm(nn.Linear(5, 4)),
        (5,),
        fallback=("weight_orig",),
        reference="loop",
    ),
    layer_case(
        "pruned",
        lambda: prune.random_unstructured(nn.Linear(5, 4), "weight", amount=0.5),
        (5,),
        fallback=("weight_orig",),
        reference="loop",
    ),
]

LAYER_CASES = [
    *CONVOLUTIONS,
    *LINEARS,
    *NORMALISATIONS,
    *EMBEDDINGS,
    *SEQUENCES,
    *OTHERS,
]
