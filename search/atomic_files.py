"""Files that appear whole or not at all, and are never written through a link or into a device."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vkdnw.search.errors import FileError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write into, which takes its place when the context ends well.

    The draft is flushed to the disk before it is renamed and the folder afterwards, so that `path`
    holds either all of the old or all of the new contents, also after a full disk, a kill or a
    power loss. Folders above it are made. The draft has the suffixes of `path`.

    Raises:
        FileError: `path` is a link, a folder, a FIFO or a device, or cannot be written.
    """
    refuse_unless_regular(path)
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        os.close(os.open(draft, mode, 0o666))
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield draft
        _flush(draft)
        draft.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise FileError(
            f"cannot write {path}: {error.strerror or error}; an older file is unchanged"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def refuse_unless_regular(path: Path) -> None:
    """Raise FileError where there is something at `path` that is no regular file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        raise FileError(
            f"{path} is {kind_of(mode)}, not a regular file; remove it or choose another name"
        )


def kind_of(mode: int) -> str:
    """The kind of a file, in words."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "a regular file")


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power loss."""
    _flush(folder, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, flags: int = os.O_RDWR | os.O_NOFOLLOW) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
