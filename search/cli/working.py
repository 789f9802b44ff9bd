"""Doing a request from the command line: progress, interrupts, and how to go on afterwards."""

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from vkdnw.search.cli import console
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import Progress, progress_on


def work(request: Request) -> None:
    """Score what the request asks for; exit with 128 + the signal's number when interrupted."""
    work_on(
        request.folder, lambda progress, interruption: score_all(request, progress, interruption)
    )


def work_on(folder: Path, begin: Callable[[Progress, Interruption], object]) -> None:
    """Do what `begin` does on a run; exit with 128 + the signal's number when interrupted."""
    interruption = Interruption()
    try:
        with interruption, progress_on(console.stderr()) as progress:
            begin(progress, interruption)
    except KeyboardInterrupt:
        pass  # the second Ctrl-C: what was finished is on disk all the same
    if interruption.requested:
        typer.echo(
            f"stopped; what was finished is in {folder}. To go on, give the same command: "
            f"{shlex.join(['vkdnw', *sys.argv[1:]])}",
            err=True,
        )
        raise typer.Exit(128 + (interruption.signal or signal.SIGINT))
