"""Running a command line: exit codes, and errors in one line.

Exit codes: 0 done, 1 failure, 2 usage, 130 interrupted (143 by SIGTERM).
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile

import typer

from vkdnw.search.control_characters import printable
from vkdnw.search.errors import ArgumentError, RunError, StateWarning

# Typer carries its own copy of click, and where it lies has changed between versions.
ClickException = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
OLD_SPELLINGS = {
    "--weights": "--weights is --scalars now: over which scalars the Fisher matrix is taken",
    "--proxy": "--proxy NAME is --proxies NAME,NAME now",
}
"""Messages for options that a command had once."""
EXPECTED = (RunError, ValueError, OSError, ImportError)
"""Errors whose message was written for the user; any other is reported as a defect."""


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the app and return its exit code; `--debug` before the subcommand shows tracebacks."""
    try:
        code = app(list(arguments), prog_name="vkdnw", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:
        # The reader of the output has ended (`vkdnw top RUN | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _debugging(arguments):
            traceback.print_exc()
        message, code = _describe(error)
        with suppress(OSError):
            print(f"vkdnw: {printable(message)}", file=sys.stderr)
        _forget_output()
        return code


def open_standard_streams() -> None:
    """Open the null device in place of standard streams that were closed at the start.

    A file opened later would otherwise get the number of a closed stream, and its output.
    """
    for number, mode, name in ((0, "r", "stdin"), (1, "w", "stdout"), (2, "w", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _forget_output() -> None:
    """Drop output that stdout could not take (a full disk, say): Python would try again at its
    end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell_warnings_in_one_line() -> None:
    """Let warnings of this package be lines like its errors; others name their category."""

    def show(
        message: Warning | str, category: type[Warning], *place: object, **more: object
    ) -> None:
        name = "" if issubclass(category, StateWarning) else f"{category.__name__}: "
        with suppress(OSError):
            print(f"vkdnw: {name}{printable(_one_line(str(message)))}", file=sys.stderr)

    warnings.showwarning = show


def _describe(error: Exception) -> tuple[str, int]:
    """One line, and the exit code."""
    if isinstance(error, ClickException):
        today = OLD_SPELLINGS.get(getattr(error, "option_name", ""))
        message = today or error.format_message()  # type: ignore[attr-defined]
        return f"{_one_line(message)} (see --help)", 2
    if isinstance(error, ArgumentError):
        return f"{_one_line(str(error))} (see --help)", 2
    if isinstance(error, EXPECTED):
        return _one_line(str(error)) or type(error).__name__, 1
    message = f"unexpected {type(error).__name__}: {_one_line(str(error))}"
    return f"{message} (vkdnw --debug ... shows the traceback)", 1


def _debugging(arguments: Sequence[str]) -> bool:
    return "--debug" in takewhile(lambda argument: argument.startswith("-"), arguments)


def _one_line(text: str) -> str:
    return " ".join(text.split())
