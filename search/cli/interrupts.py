"""Interrupts on the command line: the exit code, and how to go on."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from vkdnw.search.cli import console
from vkdnw.search.errors import Interrupted


@contextmanager
def exit_when_interrupted(folder: Path) -> Iterator[None]:
    """Turn an interrupt into the exit code that a shell expects, and say how to go on."""
    try:
        yield
    except Interrupted as stopped:
        console.say(
            f"stopped; finished results are in {folder}. To go on, give the same command: "
            f"{shlex.join(['vkdnw', *sys.argv[1:]])}"
        )
        raise typer.Exit(128 + (stopped.signal or signal.SIGINT)) from stopped
