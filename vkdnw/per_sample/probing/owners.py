"""Checks, for one chunk, that the rows of its layers belong to the samples they are taken for.

The probe sees two samples. What it finds out about rows holds for any others as long as every
operation keeps rows where they are; a model that sorts, routes or gathers samples by their values
may have left the probe's two in order. Gradients tell: backward is linear, and a power of two
scales floating-point numbers without rounding, so where the cotangent of sample ``n`` is scaled by
``2^e_n``, the gradient of each of its rows is scaled by ``2^e_n``, and by another power where the
row is another sample's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from vkdnw.backward.graph import Node
from vkdnw.batch import Batch
from vkdnw.per_sample.capture import CallSite, PathChanged

POWERS = 16  # exponents from -8 to 7, which half precision can take
TOLERANCE = 1e-3  # of a row's largest gradient; another sample's factor moves it by half or more

_KEEPING_ROWS = frozenset(
    f"{operation}Backward{overload}"
    for overload in (0, 1)
    for operation in (
        "AdaptiveAvgPool2D",
        "Add",
        "Addmm",
        "AsStrided",
        "AvgPool2D",
        "Convolution",
        "Div",
        "Elu",
        "Gelu",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "LeakyRelu",
        "MaxPool2DWithIndices",
        "Mean",
        "Mul",
        "NativeBatchNorm",
        "NativeGroupNorm",
        "NativeLayerNorm",
        "Relu",
        "Sigmoid",
        "Silu",
        "Sub",
        "T",
        "Tanh",
        "UnsafeView",
        "View",
    )
) | {"CloneBackward0", "torch::autograd::AccumulateGrad"}


def rows_may_move(piece: Batch, users: dict[Node, list[Node]]) -> bool:
    """Whether a chunk's graph, or what it is fed, leaves room for rows to change places.

    Inputs that are no floating-point numbers (tokens, lengths) enter no graph, so nothing is known
    of what was done to them.
    """
    if any(tensor.dim() and not tensor.is_floating_point() for _, tensor in piece.tensors()):
        return True
    return not all(_keeps_rows(node) for node in users)


def _keeps_rows(node: Node) -> bool:
    function = getattr(node, "_forward_cls", None)  # of functions written in Python
    if function is not None:
        return str(function.__module__).startswith("vkdnw.")
    name = node.name()
    if name == "CatBackward0":
        return bool(1 <= node._saved_dim < 2**31)  # negative ones are given as large ones
    if name == "PermuteBackward0":
        return bool(node._saved_dims[0] == 0)
    return name in _KEEPING_ROWS


def check_owners(logits: Tensor, edges: dict[CallSite, GradientEdge]) -> None:
    """Takes one backward pass, and one more for every 16 samples.

    Args:
        logits: ``[b, C]``.
        edges: where the layers' outputs, of rows in the samples' order, enter the graph.

    Raises:
        PathChanged: a row's gradient is not that of the sample it is taken for.
    """
    if not edges or len(logits) == 1:
        return
    generator = torch.Generator(device="cpu").manual_seed(0)
    cotangent = torch.randn(logits.shape[1], generator=generator, device="cpu").to(logits)
    samples = torch.arange(len(logits), device=logits.device)
    plain = _gradients(logits, edges, cotangent.expand_as(logits))
    for first in range(0, len(logits), POWERS):
        exponents = samples - first - POWERS // 2
        inside = (samples >= first) & (samples < first + POWERS)
        factors = torch.where(inside, torch.exp2(exponents.double()), 0.0).to(logits.dtype)
        scaled = _gradients(logits, edges, cotangent * factors[:, None])
        for site, before, after in zip(edges, plain, scaled, strict=True):
            if before is not None and after is not None:
                _compare(site, before, after, factors)


def _gradients(
    logits: Tensor, edges: dict[CallSite, GradientEdge], cotangents: Tensor
) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(
        logits, list(edges.values()), cotangents, retain_graph=True, allow_unused=True
    )


def _compare(site: CallSite, plain: Tensor, scaled: Tensor, factors: Tensor) -> None:
    by_sample = plain.reshape(len(factors), -1).double()
    expected = by_sample * factors.double()[:, None]
    difference = (scaled.reshape(len(factors), -1).double() - expected).abs().amax(1)
    if (difference > TOLERANCE * expected.abs().amax(1)).any():
        raise PathChanged(f"{site.layer} holds rows in another order of samples")
