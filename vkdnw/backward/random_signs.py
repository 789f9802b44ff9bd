"""Random signs, one bit each: cotangents that take little memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Signs:
    """+1 and -1 of some shape, one bit each."""

    shape: torch.Size
    bits: Tensor  # flat uint8: bit i % 8 of byte i / 8, set for +1; of four axes channels are last

    @property
    def packed(self) -> Tensor | None:
        """``[B, H, W, C / 8]`` of images whose channels are a multiple of 16.

        This is the form of the packed cotangents of :func:`vkdnw.ops.backpropagate.backpropagate_`.
        """
        if len(self.shape) != 4 or self.shape[1] % 16:
            return None
        samples, channels, height, width = self.shape
        return self.bits[: self.shape.numel() // 8].view(samples, height, width, channels // 8)

    def numbers(self, device: torch.device | str = "cpu") -> Tensor:
        """Float32 on a device; four-dimensional shapes in channels_last.

        Only bits are copied to the device: a thirty-second of the size.
        """
        bits = self.bits.to(device).int()
        signs = _byte_signs().to(device).index_select(0, bits).flatten()[: self.shape.numel()]
        if len(self.shape) != 4:
            return signs.view(self.shape)
        samples, channels, height, width = self.shape
        return signs.view(samples, height, width, channels).permute(0, 3, 1, 2)


def random_signs(shape: torch.Size, source: torch.Generator) -> Signs:
    """Independent signs, each +1 with probability 1/2. 64 are one draw, a tenth of the time of
    ``randint``."""
    words = torch.empty((shape.numel() + 63) // 64, dtype=torch.int64, device="cpu")
    words.random_(-(2**63), None, generator=source)  # all 64 bits
    return Signs(shape, words.view(torch.uint8))


@lru_cache(maxsize=1)
def _byte_signs() -> Tensor:
    """``[256, 8]``: the bits of a byte as signs."""
    bits = torch.arange(256, device="cpu").unsqueeze(1) >> torch.arange(8, device="cpu") & 1
    return (2 * bits - 1).float()
