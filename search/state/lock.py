"""One runner for each run.

An advisory lock (flock) on a file of the run's folder: the kernel drops it with the process, also
after `kill -9`, so there is no stale lock to clean up. Readers do not take it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vkdnw.search.errors import RunLocked, StoreError

LOCK_NAME = "runner.lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the run in `folder` for as long as the context lasts.

    Raises:
        RunLocked: another runner holds it; the message names its pid.
        StoreError: the lock file cannot be written.
    """
    path = folder / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot write in {folder}: {error.strerror}; make it writable or choose another --out"
        ) from error
    try:
        _lock(fd, folder)
        yield
    finally:
        os.close(fd)  # releases the lock; the file stays, since removing it would race


def _lock(fd: int, folder: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 64, 0).decode(errors="replace").strip() or "unknown"
        raise RunLocked(
            f"{folder} is in use by another runner, pid {holder}; wait for it or stop it"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
