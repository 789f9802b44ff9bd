"""One computation on one thread and on two, for tests that the bits are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def on_one_and_two_threads(run: Callable[[], T]) -> tuple[T, T]:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(2)
        return one, run()
    finally:
        torch.set_num_threads(before)
