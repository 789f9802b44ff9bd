"""Whether a backward pass of a train-mode pass computes gradients of weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WeightGradients:
    """Whether backward passes compute gradients of weights; by default autograd requests all."""

    wanted: bool = False
