"""The precision of float32 on a GPU, for the length of a call.

torch lets cuDNN round the factors of float32 convolutions to TF32, 10 bits of mantissa, unless told
otherwise. A Jacobian in float32 is computed in float32; TF32 is an option.

torch has two sets of names for these settings, and refuses to read one where it was set by the
other. Both are set here, so that a model may read either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_cudnn: Any = torch.backends.cudnn  # torch's own annotations leave its operators out
_matmul: Any = torch.backends.cuda.matmul
_mkldnn: Any = torch.backends.mkldnn
_SETTINGS: tuple[Any, ...] = (_cudnn.conv, _cudnn.rnn, _matmul, _mkldnn.matmul)

_lock = threading.Lock()
_inside = 0  # blocks under way, in all threads
_before: list[_Saved] = []  # of the first of them


class _Saved:
    """The settings under both sets of names, and cuDNN's determinism."""

    def __init__(self) -> None:
        self._deterministic = _cudnn.deterministic
        self._precisions = [setting.fp32_precision for setting in _SETTINGS]
        self._of_cudnn = _read(lambda: _cudnn.allow_tf32)
        self._of_matmul = _read(torch.get_float32_matmul_precision)

    def restore(self) -> None:
        """Sets all of them as they were."""
        _cudnn.deterministic = self._deterministic
        for value in (True, False) if self._of_cudnn is None else (self._of_cudnn,):
            _cudnn.allow_tf32 = value
            self._restore_precisions()
            if _read(lambda: _cudnn.allow_tf32) == self._of_cudnn:
                break
        for value in _MATMUL if self._of_matmul is None else (self._of_matmul,):
            torch.set_float32_matmul_precision(value)
            self._restore_precisions()
            if _read(torch.get_float32_matmul_precision) == self._of_matmul:
                break

    def _restore_precisions(self) -> None:
        for setting, value in zip(_SETTINGS, self._precisions, strict=True):
            setting.fp32_precision = value


_MATMUL = ("highest", "high", "medium")


def _read(setting: Callable[[], Any]) -> Any:
    """None where torch refuses because the caller has set both names to different values."""
    try:
        return setting()
    except RuntimeError:
        return None


@contextmanager
def float32_on(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Inside the block, float32 is IEEE's unless ``tf32``, and cuDNN gives the same bits again.

    The settings are global to torch, so blocks that overlap in time share them: the last one to
    end restores the settings that the first one found. On a CPU nothing is touched.
    """
    global _inside
    if device.type != "cuda":
        yield
        return
    with _lock:
        if _inside == 0:
            _before.append(_Saved())
        _inside += 1
        _cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        for setting in (_cudnn.conv, _cudnn.rnn):  # which allow_tf32 leaves to their parents
            setting.fp32_precision = "tf32" if tf32 else "ieee"
        _cudnn.deterministic = True
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _before.pop().restore()
