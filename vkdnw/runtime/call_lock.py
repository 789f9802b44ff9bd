"""One call of this package at a time in a process.

A call hooks the layers of the model, replaces the forward of some, and sets values that torch keeps
once for the process: the number of threads, the precision of float32, the random state, the level
of forward differentiation. A second call in the middle of that, of the same model or of another
one that shares a layer, would give wrong results. So it waits. A call uses all of
torch's threads, so calls one after the other take no longer.

A call from within another one, by the model's forward or by a hook, would wait for ever or treat
the first call's hooks as the caller's. It is refused.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_owner: int | None = None  # the thread whose call is running
_name = ""  # the function that was called there
_depth = 0  # calls that this package makes of itself
_permitted = False  # whether the next call of the owner's is this package's own
_helpers: set[int] = set()  # threads that compute for the call


@contextmanager
def one_call(name: str) -> Iterator[None]:
    """Waits until no other thread is in such a block, and keeps others out.

    Raises:
        ValueError: this thread, or one that computes for it, is in such a block already.
    """
    global _owner, _name, _depth, _permitted
    thread = threading.get_ident()
    if thread == _owner and _permitted:
        _permitted = False
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1
        return
    if thread == _owner or thread in _helpers or _is_foreign():
        raise ValueError(
            f"{name} was called while {_name} was running the model, by its forward() or by a "
            "hook; the two would disturb each other: call it before or after"
        )
    with _lock:
        _owner, _name = thread, name
        try:
            yield
        finally:
            _owner, _name = None, ""


@contextmanager
def from_within() -> Iterator[None]:
    """Inside the block, the running call may make a call of its own."""
    global _permitted
    _permitted = threading.get_ident() == _owner
    try:
        yield
    finally:
        _permitted = False


@contextmanager
def helping() -> Iterator[None]:
    """A block for threads that compute for a call."""
    thread = threading.get_ident()
    _helpers.add(thread)
    try:
        yield
    finally:
        _helpers.discard(thread)


def _is_foreign() -> bool:
    """Whether a call is running and this thread was not started by Python. It is then one of
    torch's threads, which runs a hook in that call's backward pass."""
    if _owner is None:
        return False
    dummy = threading._DummyThread  # the placeholder object of a thread that Python did not start
    started = {each.ident for each in threading.enumerate() if not isinstance(each, dummy)}
    return threading.get_ident() not in started


def _forget() -> None:
    """In a child process no call is running, even if one was in its parent."""
    global _lock, _owner, _depth, _permitted
    _lock = threading.Lock()
    _owner, _depth, _permitted = None, 0, False
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
