"""One thread, unless a test asks for two: the tensors of tests are small.

Idle threads of OpenMP spin. With two processes of tests on two cores they take most of the time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def two_threads(one_thread: None) -> None:
    torch.set_num_threads(2)
