"""The options of a call: the keywords of the public functions, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from vkdnw.checks import Output
from vkdnw.weights import DEFAULT, Weights

Convention = Literal["fisher", "released"]
Mode = Literal["auto", "reverse", "forward"]

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one call differentiates and scores; :func:`vkdnw.fisher` documents each."""

    output: Output = None
    weights: Weights = DEFAULT
    smoothing: float = 0.05
    convention: Convention = "fisher"
    dtype: torch.dtype | None = None
    max_memory: int | str | None = None
    tf32: bool = False
    mode: Mode = "auto"


def check_options(options: Options) -> None:
    """Refuses values of options that are not allowed.

    Raises:
        ValueError, TypeError: names the option, its value and the values allowed.
    """
    if options.convention not in get_args(Convention):
        raise ValueError(f"convention={options.convention!r}: expected 'fisher' or 'released'")
    smoothing = options.smoothing
    if isinstance(smoothing, bool) or not isinstance(smoothing, int | float):
        raise TypeError(f"smoothing={smoothing!r}: expected a number in [0, 1]")
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"smoothing={smoothing}: expected a number in [0, 1]")
    if options.dtype is not None and options.dtype not in DTYPES:
        raise ValueError(f"dtype={options.dtype}: expected one of {', '.join(map(str, DTYPES))}")
    if options.mode not in get_args(Mode):
        raise ValueError(f"mode={options.mode!r}: expected 'auto', 'reverse' or 'forward'")
