"""What float32 means on a GPU, for the length of a call.

torch lets cuDNN round the factors of float32 convolutions to TF32, 10 bits of mantissa, unless told
otherwise. A Jacobian asked for in float32 is computed in float32 here; TF32 has to be asked for.
The settings are global to torch: threads that run other work meanwhile see them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_cudnn: Any = torch.backends.cudnn  # torch's own annotations leave its operators out
_SETTINGS: tuple[Any, ...] = (_cudnn.conv, _cudnn.rnn, torch.backends.cuda.matmul)


@contextmanager
def float32_on(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Inside the block, float32 is IEEE's unless ``tf32``, and cuDNN gives the same bits again.

    On a CPU nothing is touched.
    """
    if device.type != "cuda":
        yield
        return
    before = [setting.fp32_precision for setting in _SETTINGS]
    deterministic = torch.backends.cudnn.deterministic
    try:
        for setting in _SETTINGS:
            setting.fp32_precision = "tf32" if tf32 else "ieee"
        torch.backends.cudnn.deterministic = True
        yield
    finally:
        for setting, value in zip(_SETTINGS, before, strict=True):
            setting.fp32_precision = value
        torch.backends.cudnn.deterministic = deterministic
