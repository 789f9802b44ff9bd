"""One runner for each run, and its last commit.

An advisory lock (flock) on a file of the run's folder: the kernel drops it with the process, also
after `kill -9`, so there is no stale lock to clean up. Readers do not take it.

The file tells who holds the run, and the identity and generation of the state's last commit. It is
not flushed: after a loss of power it may tell of an earlier commit, never of one that was not made.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vkdnw.search.atomic_files import kind_of
from vkdnw.search.errors import RunLocked, StoreError

LOCK_NAME = "runner.lock"
_BYTES = 128
DYING_SECONDS = 3.0
"""How long a lock is waited for whose process is dead: one that it was just starting may hold it,
until it has become a worker or is gone."""


@dataclass(frozen=True)
class Lock:
    """A lock that is held."""

    fd: int

    def note(self, identity: str, generation: int) -> None:
        """Note the last commit."""
        os.pwrite(self.fd, f"{os.getpid()}\n{identity} {generation:020}\n".encode(), 0)


@contextmanager
def hold(folder: Path) -> Iterator[Lock]:
    """Hold the run in `folder` for as long as the context lasts.

    Raises:
        RunLocked: another runner holds it; the message names its pid.
        StoreError: the lock file cannot be written, or is a link, a FIFO or a device.
    """
    path = folder / LOCK_NAME
    fd = _open(path)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise _irregular(path, mode)
        _lock(fd, folder)
        yield Lock(fd)
    finally:
        os.close(fd)  # releases the lock; the file stays, since removing it would race


def last_commit(folder: Path) -> tuple[str, int]:
    """Identity and generation of the last commit that a lock file tells of; ("", 0) without one."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return "", 0
    try:
        told = os.pread(fd, _BYTES, 0).decode(errors="replace").split()
    except OSError:
        return "", 0
    finally:
        os.close(fd)
    known = len(told) == 3 and told[2].isascii() and told[2].isdecimal()
    return (told[1], int(told[2])) if known else ("", 0)


def _open(path: Path) -> int:
    # Without O_NONBLOCK, opening a FIFO waits; without O_NOFOLLOW, a link writes elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _irregular(path, path.lstat().st_mode) from error
        raise StoreError(
            f"cannot write in {path.parent}: {error.strerror}; make it writable or choose "
            "another --out"
        ) from error


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _runs(pid: str) -> bool:
    """Whether a process runs; one that cannot be told does."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


def _irregular(path: Path, mode: int) -> StoreError:
    return StoreError(
        f"{path} is {kind_of(mode)}, not a regular file; remove it or choose another --out"
    )


def _lock(fd: int, folder: Path) -> None:
    deadline = time.monotonic() + DYING_SECONDS
    while not _locked(fd):
        holder = os.pread(fd, 20, 0).decode(errors="replace").partition("\n")[0] or "unknown"
        if _runs(holder) or time.monotonic() > deadline:
            raise RunLocked(
                f"{folder} is in use by another runner, pid {holder}; wait for it or stop it"
            )
        time.sleep(0.05)
    last = os.pread(fd, _BYTES, 0).partition(b"\n")[2]
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode() + last, 0)
