"""Faster layers for a train-mode pass: the library's native forwards and data gradients.

Where a layer, its input and the machine allow it (CPU, float32, channels_last; see
:mod:`vkdnw.ops.convolution` and :mod:`vkdnw.ops.batch_norm`), its ``forward`` is replaced for
the length of a block by one with the same output and the same gradient up to rounding. Second
derivatives do not exist inside the block.

Layers that follow one another are differentiated together: a convolution that reads what a ReLU
has just returned takes the ReLU's own input from the graph and applies its mask on the way back; a
BatchNorm that reads what such a convolution has just returned does the same with the convolution.
A value in between that is a feature, and so is differentiated by itself, is read as it is
(:func:`cut`). What is passed on is written down only where it is needed (:mod:`lazy_tensor`).
"""

from vkdnw.backward.layers.replacement import native_layers
from vkdnw.backward.layers.values import OverwrittenError, cut
from vkdnw.backward.layers.weight_gradients import WeightGradients

__all__ = ["OverwrittenError", "WeightGradients", "cut", "native_layers"]
