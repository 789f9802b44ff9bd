"""Autograd nodes as layers of a native tape: the backward of each kind of node.

A reader looks at the sizes, options and weights that a node has saved. It returns the layer that
computes the node's backward, or None where no layer does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vkdnw.backward.graph import Node
from vkdnw.ops.backpropagate import Layer, Norm
from vkdnw.ops.convolution import CHANNEL_MULTIPLE, packed_weight
from vkdnw.ops.relu import relu_mask


@dataclass(frozen=True)
class TapeLayer:
    """The operation of a node on a gradient, on the way to each of its sources.

    Weights and masks are made when a tape is written: most of them take a pass over memory.
    """

    layer: Layer
    weights: Callable[[], Tensor] | None = None
    mask: Callable[[], Tensor] | None = None
    stride: int = 1
    padding: int = 0
    norm: Callable[[], Norm] | None = None  # of a BatchNorm behind the layer


def padded_channels(channels: int) -> int:
    """Channels of a map on the tape, filled up with zeros: the kernels take multiples of 16."""
    return -(-channels // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE


def add(node: Node) -> TapeLayer | None:
    """A sum of two maps, without a factor."""
    return TapeLayer(Layer.IDENTITY) if node._saved_alpha == 1 else None


def relu(node: Node) -> TapeLayer:
    """The gradient, where the output is positive."""

    def mask() -> Tensor:
        return relu_mask(node._saved_result.contiguous(memory_format=torch.channels_last))

    return TapeLayer(Layer.IDENTITY, mask=mask)


def product(node: Node) -> TapeLayer | None:
    """A product with one number."""
    factor = node._saved_other
    if factor is None or factor.dim():
        return None
    device = node._input_metadata[0].device  # a number among tensors of a GPU is on the CPU
    return TapeLayer(
        Layer.SCALE,
        lambda: factor.detach().float().view(1).to(device, non_blocking=True),
    )


def mean_pool(node: Node) -> TapeLayer | None:
    """Means over squares that do not overlap, or of the three by three numbers around each."""
    sizes, stride, padding = (
        tuple(saved) for saved in (node._saved_kernel_size, node._saved_stride, node._saved_padding)
    )
    if node._saved_ceil_mode or node._saved_divisor_override is not None:
        return None
    if (sizes, stride, padding) == ((3, 3), (1, 1), (1, 1)):
        return None if node._saved_count_include_pad else TapeLayer(Layer.AVG_POOL3X3)
    if len(set(sizes)) != 1 or not set(stride) <= set(sizes) or any(padding):
        return None  # without a stride it is the kernel's size
    return TapeLayer(Layer.MEAN_POOL, stride=sizes[0])


def mean(node: Node) -> TapeLayer | None:
    """The mean over all of a square map, whose axes stay."""
    sizes = node._saved_self_sym_sizes
    axes = {axis % len(sizes) for axis in node._saved_dim}  # negative ones come as axis + 2^64
    if len(sizes) != 4 or axes != {2, 3} or not node._saved_keepdim or sizes[2] != sizes[3]:
        return None
    return TapeLayer(Layer.MEAN_POOL, stride=int(sizes[2]))


def epsilon(node: Node) -> float:
    """The constant under the root of a BatchNorm; cuDNN's node has another name for it."""
    found = node._saved_epsilon if node.name().startswith("Cudnn") else node._saved_eps
    return float(found)


def batch_norm(node: Node) -> TapeLayer | None:
    """In eval mode a factor for each channel: a depthwise convolution of one pixel."""
    if node._saved_training:
        return None

    def weights() -> Tensor:
        scale = torch.rsqrt(node._saved_running_var.double() + epsilon(node))
        if node._saved_weight is not None:
            scale = scale * node._saved_weight.detach().double()
        missing = padded_channels(len(scale)) - len(scale)
        return F.pad(scale, (0, missing)).float().view(1, 1, -1)

    return TapeLayer(Layer.DEPTHWISE_CONV, weights)


def convolution(node: Node) -> TapeLayer | None:
    """Square stride and padding, no dilation; one group, or as many as channels."""
    weight = node._saved_weight
    stride, padding = set(node._saved_stride), set(node._saved_padding)
    if (
        node._saved_transposed
        or set(node._saved_dilation) != {1}
        or len(stride) != 1
        or len(padding) != 1
        or weight.dtype != torch.float32
    ):
        return None
    layer = _layer(tuple(weight.shape), int(node._saved_groups), (*stride, *padding))
    if layer is None:
        return None
    return TapeLayer(
        layer,
        lambda: packed_weight(layer, _padded(weight.detach(), layer)),
        None,
        *stride,
        *padding,
    )


def _layer(shape: tuple[int, ...], groups: int, steps: tuple[int, ...]) -> Layer | None:
    """For weights ``[Co, Ci / groups, Kh, Kw]``, and stride and padding."""
    outputs, inputs, height, width = shape
    if groups > 1:
        return Layer.DEPTHWISE_CONV if groups == outputs and inputs == 1 else None
    known: dict[tuple[int, ...], Layer] = {(1, 1, 1, 0): Layer.CONV1X1, (3, 3, 1, 1): Layer.CONV3X3}
    return known.get((height, width, *steps), Layer.STRIDED_CONV)


def _padded(weight: Tensor, layer: Layer) -> Tensor:
    """Zeros for the channels that fill up both maps."""
    outputs, inputs, _, _ = weight.shape
    more_inputs = 0 if layer == Layer.DEPTHWISE_CONV else padded_channels(inputs) - inputs
    more_outputs = padded_channels(outputs) - outputs
    if not more_inputs and not more_outputs:
        return weight
    return F.pad(weight, (0, 0, 0, 0, 0, more_inputs, 0, more_outputs))
