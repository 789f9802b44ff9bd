"""The inputs of proxies: noise, images with labels, and the draws that go with them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vkdnw.checks import check_finite

Source = Literal["noise", "images", "images or noise", "ones", "shape", "none"]
"""The input of a proxy: standard normal noise, real images, images where there are any and noise
otherwise, a single input of ones, one sample of which only the shape counts, or no input."""


@dataclass(frozen=True)
class Inputs:
    """Everything that proxies may read; only the inputs of the chosen proxies have to be there.

    Images and noise are ``[B, ...]`` as the model takes them, of its dtype and on its device;
    labels are ``[B]`` int64. Draws that are left out are made from the seed.
    """

    noise: Tensor | None = None
    noise_labels: Tensor | None = None
    """Labels of the noise, drawn uniformly by default (grad_norm)."""
    perturbation: Tensor | None = None
    """A perturbation that is added to the noise, of its shape; standard normal by default (zen)."""
    signs: tuple[Tensor, ...] | None = None
    """+-1 for features F_K down to F_1, each shaped like its feature; by default fair coins
    (trainability)."""
    images: Tensor | None = None
    labels: Tensor | None = None
    second_images: Tensor | None = None
    """Another batch, for proxies that need two (zico)."""
    second_labels: Tensor | None = None
    size: tuple[float, float] | None = None
    """(mu, sigma): the target size and its spread, in thousands of parameters
    (swap_regularised)."""

    def __post_init__(self) -> None:
        for first, second in _PAIRS:
            batch, other = getattr(self, first), getattr(self, second)
            if batch is not None and other is not None and len(batch) != len(other):
                raise ValueError(
                    f"{first} holds {len(batch)} samples and {second} {len(other)}; "
                    "they belong together one by one"
                )
        if self.size is not None and not (len(self.size) == 2 and self.size[1] > 0):
            raise ValueError(f"size={self.size!r}: expected (mu, sigma) with sigma above 0")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Tensor):
                continue
            if value.dim() == 0 or len(value) == 0:
                raise ValueError(
                    f"{field.name} has shape {list(value.shape)}; at least one sample is needed, "
                    "on the first axis"
                )
            if field.name.endswith("labels") and (value.dim() != 1 or _is_no_class(value)):
                raise ValueError(
                    f"{field.name} is {value.dtype} of shape {list(value.shape)}; a label is the "
                    "number of a class: pass int64 of shape [B]"
                )
            if value.is_floating_point() and not value.is_meta:  # these hold no numbers
                check_finite(field.name, value, "clean the data")

    def read(self, source: Source) -> Tensor:
        """The batch that a source stands for; where only a shape counts, any that there is.

        Raises ValueError where it is not given.
        """
        images = self.images
        if source == "images" or (source == "images or noise" and images is not None):
            return given("images", images)
        only_shape = source in ("ones", "shape") and self.noise is None
        return given("noise", images if only_shape else self.noise)

    def to(self, device: torch.device | str) -> Inputs:
        """The same inputs on another device; draws of the seed are made on the CPU and moved."""
        moved = {name: _on(device, getattr(self, name)) for name in _TENSORS}
        return replace(self, signs=_on(device, self.signs), **moved)


_TENSORS = (
    *("noise", "noise_labels", "perturbation"),
    *("images", "labels", "second_images", "second_labels"),
)

_PAIRS = (
    ("noise", "noise_labels"),
    ("noise", "perturbation"),
    ("images", "labels"),
    ("second_images", "second_labels"),
)


def _on(device: torch.device | str, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(each.to(device) for each in value)
    return None if value is None else value.to(device)


def _is_no_class(labels: Tensor) -> bool:
    return labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool


def given(name: str, value: Tensor | None) -> Tensor:
    """The value, or an error that names the missing input."""
    if value is None:
        raise ValueError(f"inputs.{name} is None and needed here; pass Inputs({name}=...)")
    return value


def as_inputs(batch: Tensor | Inputs | None, labels: Tensor | None) -> Inputs:
    """The inputs of a direct call: its batch stands for noise and for images alike."""
    if isinstance(batch, Inputs):
        if labels is not None:
            raise ValueError("labels= goes with a tensor; put them into Inputs(labels=...)")
        return batch
    if batch is not None and not isinstance(batch, Tensor):
        raise ValueError(f"batch is a {type(batch).__name__}: expected a tensor [B, ...] or Inputs")
    if batch is not None and labels is not None and batch.dim() and len(labels) != len(batch):
        raise ValueError(f"labels holds {len(labels)} classes for a batch of {len(batch)}")
    return Inputs(noise=batch, noise_labels=labels, images=batch, labels=labels)


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuses labels that are not among the classes 0 .. C - 1 of the model."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"labels hold class {lowest if lowest < 0 else highest}, and the model has {classes} "
            f"logits: its classes are 0 .. {classes - 1}"
        )
