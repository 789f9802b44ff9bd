"""A warning of bfloat16 on a CPU without instructions for it, before anything is computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

from vkdnw.ops.build_facts import running_cpu_features

INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
"""Linux names of the instruction sets (x86, ARM) with which a CPU computes in bfloat16."""


class SlowDtypeWarning(UserWarning):
    """This CPU computes the dtype by conversion: correct, and many times slower than float32."""


def warn_of_slow_bfloat16(
    tensors: Iterable[Tensor], features: frozenset[str] | None = None
) -> None:
    """Warns where a tensor on the CPU is bfloat16 and the CPU converts for every operation.

    Args:
        tensors: a model's parameters.
        features: instruction sets by their Linux names; those of this machine by default. Where
            the system does not list them, there is no warning.
    """
    if not any(t.dtype == torch.bfloat16 and t.device.type == "cpu" for t in tensors):
        return
    features = running_cpu_features() if features is None else features
    if features is not None and not features & INSTRUCTIONS:
        warnings.warn(
            "bfloat16 on a CPU without bfloat16 instructions: torch converts for every operation, "
            "and a score takes 13 to 37 times as long as in float32 (docs/performance.md). "
            "dtype=torch.float32 computes on a converted copy",
            SlowDtypeWarning,
            stacklevel=2,
        )
