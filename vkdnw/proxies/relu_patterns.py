"""The units of a network's ReLUs that are on for each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vkdnw.proxies.relu_calls import RecordedReLUs

NO_RELU = "the model's forward pass has no ReLU that reads the images"
"""The reason for no value of a proxy that is defined by active ReLU units."""

NO_ACTIVATION = "the model's forward pass has no activation function that reads the images"
"""The same for a proxy that also counts GELU and similar activations."""

EXACT = 2**24
"""Counts up to here are exact in float32."""

Order = Literal["image by image", "position by position", "unknown"]
"""How rows of several images lie behind each other on an axis."""


@dataclass(frozen=True)
class Probed:
    """The output of one ReLU in a pass over a few copies of one image."""

    shape: torch.Size
    order: Order  # of the first axis, where it is a multiple of the number of copies


def probe_relus(model: nn.Module, copies: Tensor, smooth: bool = False) -> list[Probed]:
    """The ReLU calls of a forward pass over copies of one image, in their order.

    Where ``smooth``, also the calls of GELU and similar activations.

    Each returns the same for all copies, which shows how the rows of
    images lie behind each other.
    """
    found: list[Probed] = []
    count = len(copies)

    def see(output: Tensor) -> None:
        found.append(Probed(output.shape, _order(output.detach(), count)))

    with torch.no_grad(), RecordedReLUs(see, smooth):
        model(copies)
    return found


def _order(output: Tensor, count: int) -> Order:
    if output.dim() == 0 or len(output) == count or len(output) % count:
        return "unknown"
    by_image = _is_constant(output.unflatten(0, (count, -1)), 0)
    by_position = _is_constant(output.unflatten(0, (-1, count)), 1)
    if by_image == by_position:
        return "unknown"
    return "image by image" if by_image else "position by position"


def _is_constant(value: Tensor, axis: int) -> bool:
    """Along an axis, up to rounding."""
    difference = value - value.narrow(axis, 0, 1)
    return float(difference.abs().max()) <= 1e-3 * float(value.abs().max())


class Agreement:
    """In how many units two images agree: both active or both inactive, over all ReLUs seen."""

    def __init__(
        self,
        images: int,
        copies: int,
        probed: Sequence[Probed] | str,
        units: bool = False,
        smooth: bool = False,
    ) -> None:
        """For a pass over so many images.

        Args:
            images: B.
            copies: the number of images of the probe.
            probed: the ReLUs of the probe, or why there are none.
            units: whether the patterns of single units are kept.
            smooth: whether GELU and similar activations are probed and reported as well.
        """
        self._images, self._copies = images, copies
        self._collects = units
        self.smooth = smooth
        self._given = probed
        self._probed = [] if isinstance(probed, str) else list(probed)
        self.restart()

    def restart(self) -> None:
        """Before the pass is run again."""
        self.units = 0
        self.reason = self._given if isinstance(self._given, str) else None
        self._seen = 0
        self.layers: list[Tensor] = []
        """``[B, B]`` float64 for each ReLU: the number of its units in which images agree."""
        self._patterns: list[Tensor] = []  # of units, each once a ReLU

    def see(self, output: Tensor) -> None:
        """Counts the units of a ReLU's output, of any layout; those that read no image do not."""
        if self.reason is not None:
            return
        self._seen += 1
        if self._seen > len(self._probed):
            self.reason = "which ReLUs the model calls depends on the number of images"
            return
        rows = self._rows(output.detach() > 0, self._probed[self._seen - 1])
        if rows is not None:
            self._count(rows)

    def _rows(self, pattern: Tensor, probed: Probed) -> Tensor | None:
        """``[B, units]``; None where the ReLU reads no image, or the images are not found."""
        axes = [
            axis
            for axis, sizes in enumerate(zip(pattern.shape, probed.shape, strict=False))
            if sizes[0] != sizes[1]
        ]
        if pattern.dim() == len(probed.shape) and not axes:
            return None
        axis = axes[0] if len(axes) == 1 and pattern.dim() == len(probed.shape) else None
        if axis is not None:
            each, rest = divmod(pattern.shape[axis], self._images)
            if not rest and probed.shape[axis] == each * self._copies:
                if each == 1:
                    return _flat(pattern, axis)
                if axis == 0 and probed.order == "image by image":
                    return pattern.reshape(self._images, -1)
                if axis == 0 and probed.order == "position by position":
                    by_image = pattern.reshape(each, -1, *pattern.shape[1:]).transpose(0, 1)
                    return by_image.flatten(1)
        self.reason = (
            f"a ReLU returns {list(pattern.shape)} for {self._images} images and "
            f"{list(probed.shape)} for {self._copies}, in which the images cannot be told apart"
        )
        return None

    def _count(self, active: Tensor) -> None:
        """``active``: ``[B, units]``."""
        both = sum(
            (piece.float() @ piece.float().T).double() for piece in active.split(EXACT - 1, dim=1)
        )
        assert isinstance(both, Tensor)
        count = both.diagonal()
        agreeing = active.shape[1] - count[:, None] - count[None, :] + 2 * both
        self.units += active.shape[1]
        if self._collects:
            self._patterns.append(_distinct(_packed(active)))
        self.layers.append(agreeing)

    def finish(self) -> None:
        """After the pass."""
        if self.reason is None and self._seen != len(self._probed):
            self.reason = "which ReLUs the model calls depends on the number of images"
        if self.reason is None and not self.layers:
            self.reason = NO_ACTIVATION if self.smooth else NO_RELU

    @property
    def kernel(self) -> Tensor:
        """``[B, B]`` float64: the number of units, of ``units``, in which images agree.

        Only where :attr:`reason` is empty.
        """
        return torch.stack(self.layers).sum(0)

    @property
    def distinct_units(self) -> int:
        """The number of different patterns of units over the images, if units are kept."""
        return len(_distinct(torch.cat(self._patterns)))


BITS = 32
"""Images of one word: its number is exact in float64, whose products are fast."""


def _packed(active: Tensor) -> Tensor:
    """``[B, units]`` as ``[units, words]`` int64, two words side by side in one."""
    images = active.shape[0]
    words = -(-images // BITS)
    powers = active.new_zeros(images, words + words % 2, dtype=torch.float64)
    numbers = torch.arange(images, device=active.device)
    powers[numbers, numbers // BITS] = (2.0 ** (numbers % BITS).double()).to(powers)
    halves = (active.T.double() @ powers).long()
    return halves[:, ::2] + (halves[:, 1::2] << BITS)


def _distinct(patterns: Tensor) -> Tensor:
    """The different rows of ``[units, words]``; rows of one word are sorted as numbers, faster."""
    one_word = patterns.shape[1] == 1
    found: Tensor = torch.unique(patterns) if one_word else torch.unique(patterns, dim=0)
    return found.unsqueeze(1) if one_word else found


def _flat(pattern: Tensor, axis: int) -> Tensor:
    """``[B, units]``, the units in the order in which they lie in memory where that is cheaper."""
    rows = pattern.movedim(axis, 0)
    if rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        rows = rows.permute(0, 2, 3, 1)
    return rows.reshape(len(rows), -1)
