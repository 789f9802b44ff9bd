"""torch's intra-operator threads, for the length of a block.

Small operators lose more at the barriers of a busy machine than a second thread gains, so this
package runs them on one thread and parallelises over samples itself; large products and
eigenvalue problems use the caller's number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0  # calls of the package under way, in all threads
_callers = 0  # the number of threads before the first of them


@contextmanager
def one_thread() -> Iterator[int]:
    """Runs operators on one thread inside the block; gives the number the caller had set.

    The number is global to torch, so calls that overlap in time share it: the last one to end
    restores it.
    """
    global _inside, _callers
    with _lock:
        if _inside == 0:
            _callers = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield _callers
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_callers)


@contextmanager
def several_threads(count: int) -> Iterator[None]:
    """Runs large operators on ``count`` threads, inside :func:`one_thread`."""
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(1)
