"""Failures that a user is told in one line, with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from vkdnw.ops.library import NativeLibraryError


class RunError(Exception):
    """A run cannot begin or go on; the message says why, and names a remedy."""


class ArgumentError(RunError, ValueError):
    """An argument that is refused; the message names it, its value and the values allowed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: finished results are on disk, and the same call goes on."""

    signal: int | None = None
    """The number of the signal."""


class StoreError(RunError):
    """The state of a run cannot be read or written."""


class StateWarning(UserWarning):
    """Something is wrong with the state of a run that can still be read."""


class RunLocked(StoreError):
    """Another runner holds the run."""


class ConfigurationDiffers(StoreError):
    """The run was begun with a configuration other than the one asked for."""


class FileError(RunError):
    """A file cannot be written, or is of a kind that is not written to."""


class ExecutorError(RunError):
    """The workers of an executor cannot be started."""


@contextmanager
def argument_errors() -> Iterator[None]:
    """Raise ValueErrors, and a library that cannot be loaded, as ArgumentError."""
    try:
        yield
    except RunError:
        raise
    except (ValueError, NativeLibraryError) as error:
        raise ArgumentError(str(error)) from error
