"""Doing a request from the command line: interrupts, and how to go on afterwards."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from vkdnw.search.api.going import go
from vkdnw.search.cli import console
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.errors import Interrupted
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import Progress, progress_on


def work(request: Request) -> None:
    """Score what the request asks for; exit with 128 + the signal's number when interrupted."""
    work_on(
        request.folder, lambda progress, interruption: score_all(request, progress, interruption)
    )


def work_on(folder: Path, begin: Callable[[Progress, Interruption], object]) -> None:
    """Do what `begin` does on a run; exit with 128 + the signal's number when interrupted."""
    with exit_when_interrupted(folder):
        go(folder, begin, progress_on(console.stderr()))


@contextmanager
def exit_when_interrupted(folder: Path) -> Iterator[None]:
    """Turn an interrupt into what a shell expects, and say how to go on."""
    try:
        yield
    except Interrupted as stopped:
        console.say(
            f"stopped; what was finished is in {folder}. To go on, give the same command: "
            f"{shlex.join(['vkdnw', *sys.argv[1:]])}"
        )
        raise typer.Exit(128 + (stopped.signal or signal.SIGINT)) from stopped
