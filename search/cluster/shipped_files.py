"""Folders of files that the driver sent to this machine, removed when nobody needs them any more.

A folder has a lock beside it that its process holds. The process removes it when it is told to or
ends; of one that was killed, the next process that unpacks something does, once the lock is free.
"""

import atexit
import fcntl
import io
import os
import shutil
import tarfile
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

PREFIX = "vkdnw-shipped-"
LOCK = ".lock"

_held: dict[Path, int] = {}
"""Folders of this process, with the open file that holds the lock of each."""


def unpack(archive: bytes) -> Path:
    """The only entry of a tar archive, in a new temporary folder of this process."""
    sweep()
    folder = Path(tempfile.gettempdir(), PREFIX + uuid.uuid4().hex)
    lock = os.open(_lock_of(folder), os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # before there is a folder, which others would take away
    folder.mkdir(mode=0o700)
    _held[folder] = lock
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    (only,) = folder.iterdir()
    return only


@atexit.register
def remove_all() -> None:
    """Remove the folders of this process."""
    while _held:
        folder, lock = _held.popitem()
        _remove(folder, lock)


def sweep() -> None:
    """Remove folders whose processes are gone."""
    for folder in filter(Path.is_dir, Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with suppress(OSError):  # it is in use, another user's, or has just been removed
            lock = os.open(_lock_of(folder), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            _remove(folder, lock)


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)
    os.close(lock)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + LOCK)
