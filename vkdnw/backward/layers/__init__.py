"""Layers with native forwards and data gradients, which replace torch's for the length of a block.

:mod:`eligibility` tests whether a layer and its input are covered: on the CPU, in float32,
channels_last.
The outputs and the gradients are torch's up to rounding. Second derivatives do not exist inside the
block.

There are two policies. In eval mode a BatchNorm is a scale and a shift, which the convolution in
front computes (:mod:`vkdnw.per_sample.fusion`). In train mode a BatchNorm normalises by the batch,
and layers that follow one another are differentiated together: a convolution that reads a value
that a ReLU has just returned takes the ReLU's own input from the graph and applies its mask in the
backward pass; a BatchNorm behind such a convolution does the same with the convolution. A value in
between that is a feature is differentiated by itself (:func:`cut`). A
result is computed only where it is needed (:mod:`lazy_tensor`).
"""

from vkdnw.backward.layers.replacement import native_layers, replaced_forwards
from vkdnw.backward.layers.tensor_notes import OverwrittenError, cut
from vkdnw.backward.layers.weight_gradient_switch import WeightGradients

__all__ = ["OverwrittenError", "WeightGradients", "cut", "native_layers", "replaced_forwards"]
