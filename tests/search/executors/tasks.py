"""Tasks by name for the tests of executors, and their helpers."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from vkdnw.search.executors import Executor, Outcome


def act(task: tuple[str, int]) -> int:
    """A task that does as its name says."""
    what, number = task
    if what == "raise":
        raise ValueError(f"number {number}\nand more")
    if what == "die":
        os.kill(os.getpid(), number)
    if what == "sleep":
        time.sleep(number)
    if what == "pid":
        return os.getpid()
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "gpu":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return number**2


def collect(
    executor: Executor[Any, Any], count: int, seconds: float = 30.0
) -> list[Outcome[Any, Any]]:
    """The next `count` outcomes."""
    outcomes: list[Outcome[Any, Any]] = []
    deadline = time.monotonic() + seconds
    while len(outcomes) < count and time.monotonic() < deadline:
        outcomes += executor.wait(0.1)
    assert len(outcomes) == count
    return outcomes


def submit(executor: Executor[Any, Any], tasks: Sequence[tuple[str, int]]) -> None:
    for task in tasks:
        executor.submit(task)
