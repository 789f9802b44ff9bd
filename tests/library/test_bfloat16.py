"""bfloat16 on a CPU that has no instructions for it is announced, and only there."""

import warnings

import pytest
import torch
from torch import nn

import vkdnw
from vkdnw.runtime.bfloat16 import SlowDtypeWarning, warn_of_slow_bfloat16

AVX2 = frozenset({"avx", "avx2", "fma"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_other_dtypes_are_not_announced(dtype: torch.dtype) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slow_bfloat16([torch.zeros(1, dtype=dtype)], AVX2)


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_cpu_with_instructions_is_not_announced(instructions: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_slow_bfloat16([torch.zeros(1, dtype=torch.bfloat16)], AVX2 | {instructions})


def test_a_cpu_without_instructions_is_announced_with_the_factor_and_the_remedy() -> None:
    with pytest.warns(SlowDtypeWarning, match=r"13 to 37 times .* dtype=torch\.float32"):
        warn_of_slow_bfloat16([torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16)], AVX2)


def test_a_score_announces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vkdnw.runtime.bfloat16.running_cpu_features", lambda: AVX2)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with pytest.warns(SlowDtypeWarning):
        vkdnw.score(model, torch.randn(4, 4), dtype=torch.bfloat16)
