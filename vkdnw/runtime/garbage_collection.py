"""Python's cyclic garbage collector, paused where nothing needs it.

A pass through a model makes tens of thousands of small objects that reference counting frees again.
If the collector runs while they are alive, they count as long-lived. Every few passes it then
traverses all objects of the program, which takes half as long as a score of a small network.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0  # blocks under way, in all threads
_was_enabled = False  # before the first of them


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Collects no cycles inside the block; they are collected afterwards.

    Blocks should be as short as one pass through a model, or some of a small one: a model that
    leaves cycles behind would keep its feature maps for that long. The collector belongs to
    the process, so blocks that overlap in time share the pause; the last one to end turns it on.
    """
    global _inside, _was_enabled
    with _lock:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _was_enabled:
                gc.enable()


SELDOM = 100_000
"""Number of objects made and not freed after which the collector runs."""


@contextmanager
def gc_seldom() -> Iterator[None]:
    """Collects cycles less often inside the block, for work that makes many objects and few cycles.

    Objects that are made and freed between two collections cost the collector nothing.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], SELDOM), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
