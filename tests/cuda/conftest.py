"""Tests marked `gpu` run on a CUDA device, and say why where they cannot.

VKDNW_GPU_TESTS=cpu runs them on the CPU: a rehearsal of the tests, where there is no GPU.
"""

from __future__ import annotations

import os

import pytest
import torch

from vkdnw.ops import library

REHEARSAL = os.environ.get("VKDNW_GPU_TESTS") == "cpu"


def why_not() -> str | None:
    """Why a test on a GPU cannot run."""
    if REHEARSAL:
        return None
    if not library.read_facts().cuda_archs:
        return f"the library has no CUDA kernels: {library.read_facts().cuda_reason}"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = why_not()
    if missing is None:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu" if REHEARSAL else "cuda")


@pytest.fixture
def only_on_gpu() -> None:
    if REHEARSAL:
        pytest.skip("a CPU has no streams, no synchronisation and no caching allocator")
